"""One person's data: what is held, its export, and its removal."""

from collections.abc import Callable
from typing import Any, Final

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.forms import Media
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from langbot.core.access import author_of
from langbot.core.audit import record_host_act
from langbot.core.permissions import COST, RAW_PAYLOAD
from runners.admin.exports import attachment
from runners.admin.people import ErasingPeople
from runners.admin.person_forms import ErasingForm, PersonForm
from runners.people.erasing import erase_for
from runners.people.exporting import export_parts
from runners.people.persons import Person, find_holdings

SECONDS: Final = 5.0  # of erasing in one request; the page asks for the next ones
_PAGE = "admin:langbot_runners_conversation_person"
# Of what an export holds: it is for who may see each of it.
_SEEING = (
    "langbot_runners.view_conversation",
    "langbot_core.view_auditlog",
    RAW_PAYLOAD,
    COST,
)
_AGAIN = ("place", "actor", "confirmed")
_KINDS: dict[str, Any] = {
    "conversations": _("conversations of their own"),
    "shared": _("conversations with others"),
    "messages": _("messages"),
    "events": _("events"),
    "runs": _("runs"),
    "queued_messages": _("waiting messages"),
    "deliveries": _("deliveries"),
    "decisions": _("decisions"),
}


View = Callable[[HttpRequest], HttpResponseBase]


def _only_posted(view: View) -> View:
    """Send who only opens an act's address, as after logging in, to its form."""

    def act(request: HttpRequest) -> HttpResponseBase:
        if request.method != "POST":
            return HttpResponseRedirect(reverse(_PAGE))
        return view(request)

    return act


class PersonPages(ErasingPeople):
    """Adds `person/` and what it does to the pages of conversations."""

    change_list_template = "admin/langbot_runners/conversations.html"

    def get_urls(self) -> Any:
        name, site = "langbot_runners_conversation_person", self.admin_site
        export = site.admin_view(_only_posted(self.export_person_view))
        erase = site.admin_view(_only_posted(self.erase_person_view))
        return [
            path("person/", site.admin_view(self.person_view), name=name),
            path("person/export/", export, name=f"{name}_export"),
            path("person/erase/", erase, name=f"{name}_erase"),
            *super().get_urls(),
        ]

    def has_person_permission(self, request: HttpRequest) -> bool:
        """Whether the person may see, and take along, all that is held of another."""
        return may_see_person(request.user)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Lead to the page whom may open it."""
        may = {"may_see_person": self.has_person_permission(request)}
        return super().changelist_view(request, may | (extra_context or {}))

    def person_view(self, request: HttpRequest) -> HttpResponse:
        """Show the form, and how much is held of whom the address names."""
        if not self.has_person_permission(request):
            raise PermissionDenied
        form = PersonForm(request, request.GET or None)
        return self._page(request, form)

    def export_person_view(self, request: HttpRequest) -> HttpResponseBase:
        """Send the zip while it is made; that it was asked for is written before."""
        if not self.has_person_permission(request):
            raise PermissionDenied
        form = PersonForm(request, request.POST)
        if not form.is_valid():
            return self._page(request, form)
        person: Person = form.cleaned_data["person"]
        what = {"person": person.pseudonym}
        record_host_act(author_of(request), "person exported", what, person.workspace)
        return attachment(export_parts(person, {}), "application/zip", "person", "zip")

    def erase_person_view(self, request: HttpRequest) -> HttpResponse:
        """Erase for some seconds; the page asks again until nothing is left.

        A refused form shows what is held: who may not see that may not ask here.
        """
        may_see = self.has_person_permission(request)
        if not (may_see and self.has_erase_permission(request)):
            raise PermissionDenied
        form = ErasingForm(request, request.POST)
        if not form.is_valid():
            return self._page(request, PersonForm(request, request.POST), form)
        given = form.cleaned_data
        erased = erase_for(given["person"], author_of(request), SECONDS)
        gone = (given["gone"] or 0) + sum(erased.rows.values())
        if not erased.is_finished:
            again = {name: form.data[name] for name in _AGAIN} | {"gone": gone}
            return self._rendered(request, "erasing", {"again": again, "gone": gone})
        text = ngettext("Erased: %(rows)d row.", "Erased: %(rows)d rows.", gone)
        self.message_user(request, text % {"rows": gone}, messages.SUCCESS)
        return HttpResponseRedirect(reverse(_PAGE))

    def _page(
        self, request: HttpRequest, form: PersonForm, erasing: Any = None
    ) -> HttpResponse:
        context: dict[str, Any] = {"form": form}
        if form.is_bound and form.is_valid():
            context |= self._held(request, form.cleaned_data["person"])
            context["erasing"] = erasing or ErasingForm(request)
            context["given"] = {name: form.cleaned_data[name] for name in form.fields}
        return self._rendered(request, "person", context)

    def _held(self, request: HttpRequest, person: Person) -> dict[str, Any]:
        found = find_holdings(person)
        counts = {name: len(keys) for name, keys in found.keys.items()}
        counts["shared"] = len(found.shared)
        return {
            "person": person,
            "held": [(label, counts[name]) for name, label in _KINDS.items()],
            "is_known": any(counts.values()),
            "may_erase": self.has_erase_permission(request),
        }

    def _rendered(
        self, request: HttpRequest, name: str, more: dict[str, Any]
    ) -> HttpResponse:
        own = Media(
            css={"all": ["langbot_admin/agents.css"]}, js=["langbot_admin/person.js"]
        )
        context = {
            **self.admin_site.each_context(request),
            "title": _("One person's data"),
            "opts": self.opts,
            "media": self.media + own,
            **more,
        }
        template = f"admin/langbot_runners/{name}.html"
        return TemplateResponse(request, template, context)


def may_see_person(user: Any) -> bool:
    """Whether somebody may see all that is held of a person."""
    return bool(user.has_perms(_SEEING))


__all__ = ["PersonPages", "may_see_person"]
