"""People on the pages of quotas and usage: whom `<place>:<id>` stands for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models import Model, OuterRef, Subquery
from django.utils.translation import gettext as _

from agents.models import UsageRecord
from langbot.core.access import actor_of_user
from langbot.lib.admin import as_uuid
from runners.admin.display import two_lines
from runners.models import AgentRun
from runners.spending import API

Key = tuple[int, str]  # a workspace, and what budgets call somebody of it
_ACCOUNT = f"{API}:user:"


@dataclass(frozen=True, slots=True)
class ShownPerson:
    """Whom a budget means; `name` is empty where nobody has told it."""

    id: str
    place: str
    name: str = ""

    def html(self) -> str:
        """Return the name, and below it the place and the id there."""
        place = f"{self.place} · {self.id}" if self.place else self.id
        return two_lines(self.name, place) if self.name else place


class PeopleColumn:
    """Adds `shown_person` to the rows of a list; four queries for all of them."""

    person_column = "person"

    def name_people(self, rows: Sequence[Any]) -> None:
        """Set `shown_person` where a row is about somebody."""
        people = shown_people(rows, self.person_column)
        for row in rows:
            key = row.workspace_id, getattr(row, self.person_column)
            row.shown_person = people.get(key)

    def shown(self, row: Any) -> str:
        """Return whom a row is about; a dash for nobody."""
        if not hasattr(row, "shown_person"):
            self.name_people([row])
        return row.shown_person.html() if row.shown_person else "—"


def shown_people(rows: Sequence[Model], column: str) -> dict[Key, ShownPerson]:
    """Return {(workspace, person): whom it means} for the `column` of some rows."""
    keys = {(row.workspace_id, getattr(row, column)) for row in rows}  # type: ignore[attr-defined]  # rows of a workspace
    people = {key: key[1].partition(":") for key in keys if ":" in key[1]}
    bots = _bot_names({place for place, _colon, _id in people.values()})
    told = _names_told(rows, column) | _account_names(people)
    return {
        key: ShownPerson(actor, _place(place, bots), told.get(key, ""))
        for key, (place, _colon, actor) in people.items()
    }


def _place(place: str, bots: Mapping[str, str]) -> str:
    if place == API:
        return "REST"
    return bots.get(place, _("a deleted bot") if as_uuid(place) else place)


def _bot_names(places: Iterable[str]) -> dict[str, str]:
    wanted = [key for key in map(as_uuid, places) if key is not None]
    if not wanted:
        return {}
    # By name: `platforms` is a layer above this app.
    bots = apps.get_model("langbot_platforms", "Bot")._default_manager
    found = bots.filter(public_id__in=wanted).values_list("public_id", "name")
    return {str(key): name for key, name in found}


def _account_names(people: Iterable[Key]) -> dict[Key, str]:
    wanted = {key: key[1].removeprefix(_ACCOUNT) for key in people}
    keys = {one for one in wanted.values() if one.isdecimal() and len(one) < 19}  # noqa: PLR2004  a column of 63 bits
    if not keys:
        return {}
    users = get_user_model()._default_manager.filter(pk__in=keys)
    names = {str(user.pk): actor_of_user(user)["name"] for user in users}
    return {key: names[one] for key, one in wanted.items() if one in names}


def _names_told(rows: Sequence[Any], column: str) -> dict[Key, str]:
    """Return what the event behind the newest model call of each calls them."""
    calls = _last_runs(rows, column) if rows else {}
    actors = {
        public_id: actors
        for public_id, *actors in AgentRun.objects.filter(
            public_id__in=set(calls.values())
        ).values_list("public_id", "event__actor", "parent__event__actor")
    }
    return {
        key: name
        for key, run in calls.items()
        for name in _own_names(key[1], actors.get(run, ()))
    }


def _last_runs(rows: Sequence[Any], column: str) -> dict[Key, Any]:
    """Return the run of each one's newest call; along an index, one query for all."""
    calls = UsageRecord.objects.filter(
        workspace=OuterRef("workspace"), person=OuterRef(column), run_id__isnull=False
    )
    newest = Subquery(calls.order_by("-created_at").values("run_id")[:1])
    named = type(rows[0])._default_manager.filter(pk__in=[row.pk for row in rows])
    found = named.exclude(**{column: ""}).order_by()
    told = found.values_list("workspace_id", column, newest)
    return {(place, person): run for place, person, run in told if run is not None}


def _own_names(person: str, actors: Iterable[Any]) -> Iterator[str]:
    """Yield what events call a person; agents that asked for them are others."""
    for actor in actors:
        told = actor if isinstance(actor, dict) else {}
        if told.get("name") and person.partition(":")[2] == str(told.get("id")):
            yield str(told["name"])[:200]


__all__ = ["PeopleColumn", "ShownPerson", "shown_people"]
