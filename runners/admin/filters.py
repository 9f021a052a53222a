"""Filters of the lists of records: each is answered by an index.

None of them reads the table to find out what to offer.
"""

from typing import Any

from django.apps import apps
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from agents.models import Agent
from langbot.lib.admin import DropdownFilter
from langbot.lib.prepared import Literal
from runners.labels import has_label, is_labelled
from runners.models import AgentRun

CHOICES = 200  # agents or bots offered; others are reached from their own page
_LABELLED = 500  # latest labelled runs whose labels are offered


class ChoiceFilter(DropdownFilter):
    """Rows with one choice of a field; the SQL names it, as the partial indexes do."""

    field = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return model_admin.model._meta.get_field(self.field).flatchoices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        choice = self.value()
        if not choice:
            return queryset
        if choice not in dict(self.lookup_choices):
            return queryset.none()
        return queryset.filter(**{self.field: Literal(choice)})


class StatusFilter(ChoiceFilter):
    title = _("status")
    field = "status"
    parameter_name = "status__exact"


class OutcomeFilter(ChoiceFilter):
    title = _("outcome")
    field = "outcome"
    parameter_name = "outcome__exact"


class KindFilter(ChoiceFilter):
    title = _("kind")
    field = "kind"
    parameter_name = "kind__exact"


class AgentFilter(DropdownFilter):
    """Rows of one agent."""

    title = _("agent")
    parameter_name = "agent__id__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        agents = _visible(model_admin, request, Agent).order_by("name")
        return list(agents.values_list("pk", "name")[:CHOICES])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        return queryset.filter(agent=self.value()) if self.value() else queryset


class BotFilter(DropdownFilter):
    """Rows of one bot."""

    title = _("bot")
    parameter_name = "bot_id__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        # By name: `platforms` is a layer above this app.
        model = apps.get_model("langbot_platforms", "Bot")
        bots = _visible(model_admin, request, model).order_by("name")
        return list(bots.values_list("public_id", "name")[:CHOICES])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        return queryset.filter(bot_id=self.value()) if self.value() else queryset


class LabelFilter(DropdownFilter):
    """Runs with a label."""

    title = _("label")
    parameter_name = "label"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        runs = model_admin.get_queryset(request).filter(is_labelled())
        lists = runs.order_by("-pk").values_list("labels", flat=True)[:_LABELLED]
        return [(label, label) for label in sorted({x for one in lists for x in one})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AgentRun]) -> Any:
        label = self.value()
        return queryset.filter(has_label(label)) if label else queryset


def _visible(model_admin: Any, request: HttpRequest, model: type[Any]) -> Any:
    """Return the rows that the person sees in the model's own list."""
    registered = model_admin.admin_site._registry.get(model)
    if registered is None or not registered.has_view_permission(request):
        return model._default_manager.none()
    return registered.get_queryset(request)


__all__ = [
    "AgentFilter",
    "BotFilter",
    "KindFilter",
    "LabelFilter",
    "OutcomeFilter",
    "StatusFilter",
]
