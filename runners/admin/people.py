"""Erasing the people of conversations, from their list, after a question."""

from collections import Counter
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from langbot.core.access import author_of
from runners.choices import Role
from runners.models import Conversation, TranscriptItem
from runners.people.erasing import erase_person
from runners.people.persons import Person

MOST = 20  # people at once: a page is not to wait longer


class ErasingPeople:
    """Adds the action to the list of conversations."""

    def has_erase_permission(self, request: HttpRequest) -> bool:
        """Whether the person may remove what others said."""
        return bool(request.user.has_perm("langbot_runners.delete_conversation"))

    @admin.action(
        description=_("Erase the people of selected conversations"),
        permissions=["erase"],
    )
    def erase_people(
        self, request: HttpRequest, queryset: QuerySet[Conversation]
    ) -> HttpResponse | None:
        """Show who it is and ask; then erase each everywhere at their bot."""
        people = people_of(queryset)
        if len(people) > MOST:
            self._say(request, _("These are too many people at once."), messages.ERROR)
            return None
        if people and request.POST.get("post") != "yes":
            return self._ask(request, queryset, people)
        removed: Counter[str] = Counter()
        for person in people:
            removed.update(erase_person(person, author_of(request)))
        text = ngettext(
            "%(people)d person was erased: %(rows)d rows.",
            "%(people)d people were erased: %(rows)d rows.",
            len(people),
        )
        given = {"people": len(people), "rows": sum(removed.values())}
        self._say(request, text % given, messages.SUCCESS)
        return None

    def _ask(
        self,
        request: HttpRequest,
        queryset: QuerySet[Conversation],
        people: list[Person],
    ) -> HttpResponse:
        page: Any = self
        context = {
            **page.admin_site.each_context(request),
            "title": _("Erase these people?"),
            "opts": page.opts,
            "media": page.media,
            "people": people,
            "keys": queryset.values_list("pk", flat=True),
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/langbot_runners/erase.html", context)

    def _say(self, request: HttpRequest, text: Any, level: int) -> None:
        page: Any = self
        page.message_user(request, text, level)


def people_of(conversations: QuerySet[Conversation]) -> list[Person]:
    """Return who spoke in the conversations, each once at their bot and workspace."""
    found: dict[tuple[Any, ...], Person] = {}
    for place in conversations.select_related("workspace"):
        said = TranscriptItem.objects.filter(conversation=place, role=Role.USER)
        actors = said.order_by().values_list("actor_id", flat=True).distinct()
        for actor in sorted({place.actor_id, *actors} - {""}):
            person = Person(actor, place.workspace, place.bot_id)
            found[actor, place.workspace_id, place.bot_id] = person
    return list(found.values())


__all__ = ["ErasingPeople", "people_of"]
