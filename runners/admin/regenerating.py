"""A reply made anew from the page of its conversation, after a question."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.forms import Media
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from langbot.core.access import author_of
from langbot.core.permissions import SEND
from runners.branches import find_item, messages_after, regenerate
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
        """Say what goes and ask; then answer again what a reply answers."""
        page: Any = self
        conversation = page.get_object(request, str(pk))
        if conversation is None:
            raise Http404
        if not may_regenerate(request):
            raise PermissionDenied
        item = _named(conversation, request.POST.get("message", ""))
        try:
            if item is not None and request.POST.get("post") != "yes":
                return self._ask_before(request, conversation, item)
            level, text = _regenerated(request, item)
        except AdmissionError as error:
            level, text = messages.WARNING, str(error)
        page.message_user(request, text, level)
        return HttpResponseRedirect(_page_of(conversation))

    def _ask_before(
        self, request: HttpRequest, conversation: Conversation, item: TranscriptItem
    ) -> HttpResponse:
        page: Any = self
        context = {
            **page.admin_site.each_context(request),
            "title": _("Make this reply anew?"),
            "opts": page.opts,
            "media": page.media + Media(css={"all": ["langbot_admin/agents.css"]}),
            "item": item,
            "after": messages_after(item),
            "is_sent": conversation.bot_id is not None,
            "back": _page_of(conversation),
        }
        name = "admin/langbot_runners/regenerate.html"
        return TemplateResponse(request, name, context)


def may_regenerate(request: HttpRequest) -> bool:
    """Whether the person may have a reply made anew: as REST asks, who may send."""
    return request.user.has_perm(SEND)


def can_be_regenerated(item: TranscriptItem) -> bool:
    """Whether a row of a transcript is a run's reply."""
    is_reply = item.role == Role.ASSISTANT and item.item_type in _REPLIES
    return is_reply and item.run_id is not None


def _page_of(conversation: Conversation) -> str:
    return reverse("admin:langbot_runners_conversation_change", args=[conversation.pk])


def _regenerated(request: HttpRequest, item: TranscriptItem | None) -> tuple[int, str]:
    """Return what is said of it: the level of the message, and its words."""
    if item is None:
        return messages.WARNING, _("There is no such message.")
    regenerate(item, author_of(request))
    return messages.SUCCESS, _("The reply is being made anew.")


def _named(conversation: Conversation, given: str) -> TranscriptItem | None:
    try:
        return find_item(conversation, UUID(given))
    except ValueError:
        return None


__all__ = ["RegeneratingAdmin", "can_be_regenerated", "may_regenerate"]
