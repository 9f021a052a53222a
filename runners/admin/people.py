"""Erasing the people of conversations, from their list, after a question."""

from collections import Counter

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from langbot.core.access import author_of
from langbot.lib import admin as look
from runners.choices import Role
from runners.models import Conversation, TranscriptItem
from runners.people.erasing import erase_person
from runners.people.persons import Person

MOST = 20  # people at once: a page is not to wait longer


class ErasingPeople(look.ModelAdmin):
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
        people = people_of(queryset, within=is_bounded(request))
        if len(people) > MOST:
            many = _("These are too many people at once.")
            self.message_user(request, many, messages.ERROR)
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
        self.message_user(request, text % given, messages.SUCCESS)
        return None

    def _ask(
        self,
        request: HttpRequest,
        queryset: QuerySet[Conversation],
        people: list[Person],
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("Erase these people?"),
            "opts": self.opts,
            "media": self.media,
            "people": people,
            "keys": queryset.values_list("pk", flat=True),
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/langbot_runners/erase.html", context)


def is_bounded(request: HttpRequest) -> bool:
    """Whether what the person does stays within workspaces."""
    return not getattr(request.user, "is_superuser", False)


def people_of(
    conversations: QuerySet[Conversation], *, within: bool = False
) -> list[Person]:
    """Return who spoke in the conversations, each once at their bot and workspace."""
    places = {place.pk: place for place in conversations.select_related("workspace")}
    here = conversations.order_by().values("pk")
    said = TranscriptItem.objects.filter(conversation__in=here, role=Role.USER)
    spoke = said.order_by().values_list("conversation", "actor_id").distinct()
    named = {*spoke, *((place.pk, place.actor_id) for place in places.values())}
    people = [
        Person(actor, places[key].workspace, places[key].bot_id, within=within)
        for key, actor in sorted(named)
        if actor
    ]
    return list(dict.fromkeys(people))


__all__ = ["ErasingPeople", "is_bounded", "people_of"]
