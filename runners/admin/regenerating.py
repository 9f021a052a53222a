"""A reply made anew from the page of its conversation, after a look at who asks."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from langbot.core.access import author_of
from langbot.core.permissions import SEND
from runners.branches import find_item, regenerate
from runners.choices import Role
from runners.errors import AdmissionError
from runners.models import Conversation, TranscriptItem

_REPLIES = frozenset({"message", "error"})


class RegeneratingAdmin:
    """Adds `<conversation>/regenerate/`, which takes a message's id as `message`."""

    def get_urls(self) -> Any:
        page: Any = self
        view = require_POST(page.admin_site.admin_view(self.regenerate_view))
        name = "langbot_runners_conversation_regenerate"
        own = path("<int:pk>/regenerate/", view, name=name)
        return [own, *super().get_urls()]  # type: ignore[misc]  # of ModelAdmin

    def regenerate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Answer again what a reply answers, and go back to the conversation."""
        page: Any = self
        conversation = page.get_object(request, str(pk))
        if conversation is None:
            raise Http404
        if not may_regenerate(request):
            raise PermissionDenied
        level, text = _regenerated(request, conversation)
        page.message_user(request, text, level)
        there = reverse("admin:langbot_runners_conversation_change", args=[pk])
        return HttpResponseRedirect(there)


def may_regenerate(request: HttpRequest) -> bool:
    """Whether the person may have a reply made anew: as REST asks, who may send."""
    return request.user.has_perm(SEND)


def can_be_regenerated(item: TranscriptItem) -> bool:
    """Whether a row of a transcript is a run's reply."""
    is_reply = item.role == Role.ASSISTANT and item.item_type in _REPLIES
    return is_reply and item.run_id is not None


def _regenerated(request: HttpRequest, conversation: Conversation) -> tuple[int, str]:
    """Return what is said of it: the level of the message, and its words."""
    item = _named(conversation, request.POST.get("message", ""))
    if item is None:
        return messages.WARNING, _("There is no such message.")
    try:
        regenerate(item, author_of(request))
    except AdmissionError as error:
        return messages.WARNING, str(error)
    return messages.SUCCESS, _("The reply is being made anew.")


def _named(conversation: Conversation, given: str) -> TranscriptItem | None:
    try:
        return find_item(conversation, UUID(given))
    except ValueError:
        return None


__all__ = ["RegeneratingAdmin", "can_be_regenerated", "may_regenerate"]
