"""Which limits hold for a call, and what is left of them.

A limit of 0 is unlimited; what was spent at or over a limit blocks; the day is looked
at before the week (AG-85). Windows begin at midnight UTC, weeks on Monday (AG-84).
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import Final

from django.db.models import Q, QuerySet, Sum
from django.db.models.signals import post_delete, post_save
from django.utils.translation import gettext

from agents.choices import QuotaScope, Tier, UsageWindow
from agents.resources.quotas import MULTIPLIERS, Place, Quota, QuotaWindow, window_of
from agents.resources.tiers import tier_of, tiers_of
from agents.resources.usage import UsageRecord
from langbot.lib.conf import limits

_REMEMBERED_SECONDS: Final = 5.0
_ORDER: Final = (UsageWindow.DAILY, UsageWindow.WEEKLY)
_PEOPLE: Final = frozenset({QuotaScope.USER, QuotaScope.TIER})
_known: dict[int, tuple[float, bool]] = {}


@dataclass(frozen=True, slots=True)
class Spender:
    """Whose quotas a call counts to; `person` is empty where nobody speaks."""

    workspace_id: int
    agent_id: int | None
    person: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit that holds for a spender now."""

    scope: str
    subject: str
    window: str
    microdollars: int
    starts_at: datetime
    ends_at: datetime

    @property
    def place(self) -> Place:
        """What tells its window from the others of this time."""
        return self.scope, self.subject, self.window


@dataclass(frozen=True, slots=True)
class Share:
    """What a person may know of a window of theirs."""

    percent: float
    resets_at: datetime


class QuotaExceededError(Exception):
    """A window is used up; it tells when the next begins, never any amount."""

    def __init__(self, limit: Limit) -> None:
        self.scope, self.window = limit.scope, limit.window
        self.resets_at = limit.ends_at
        super().__init__(_words(limit))

    @property
    def retry_after(self) -> int:
        """Seconds until the window begins anew."""
        left = (self.resets_at - datetime.now(UTC)).total_seconds()
        return max(1, int(left) + 1)


def has_quotas(workspace_id: int) -> bool:
    """Whether a workspace has any quota; remembered for 5 s in each process.

    A lookup that fails is not remembered (AG-123).
    """
    seen = _known.get(workspace_id)
    if seen is not None and time.monotonic() - seen[0] < _REMEMBERED_SECONDS:
        return seen[1]
    found = Quota.objects.filter(workspace_id=workspace_id, enabled=True).exists()
    _known[workspace_id] = time.monotonic(), found
    return found


def check_budget(spender: Spender) -> None:
    """Raise QuotaExceededError when nothing is left; reserves nothing.

    A workspace without quotas costs one statement in 5 s.
    """
    if not has_quotas(spender.workspace_id):
        return
    holding = limits_of(spender)
    check_left(holding, _spent(spender.workspace_id, holding))


def check_left(holding: Sequence[Limit], used: Mapping[Place, int]) -> None:
    """Raise QuotaExceededError for the first limit that `used` has reached."""
    for limit in holding:
        if used.get(limit.place, 0) >= limit.microdollars:
            raise QuotaExceededError(limit)


def limits_of(spender: Spender, moment: datetime | None = None) -> list[Limit]:
    """Return what limits a spender: person, agent, workspace; the day first."""
    rows = list(Quota.objects.filter(_concerns(spender), enabled=True))
    tier = Tier.FREE.value
    if spender.person and any(row.scope in _PEOPLE for row in rows):
        tier = tier_of(spender.workspace_id, spender.person)
    now = moment or datetime.now(UTC)
    found = []
    for scope, subject in _subjects(spender):
        for window in _ORDER:
            amount = _amount(_candidates(rows, scope, window, tier), tier)
            if amount:
                starts_at, ends_at = window_of(window, now)
                found.append(Limit(scope, subject, window, amount, starts_at, ends_at))
    return found


def limits_on(windows: Sequence[QuotaWindow]) -> dict[int, int]:
    """Return {key of a window: its limit as it is now}; two queries for all of them.

    Windows without a limit are left out.
    """
    places = {window.workspace_id for window in windows}
    subjects = {window.subject for window in windows}
    agents = {int(one.subject) for one in windows if one.scope == QuotaScope.AGENT}
    wanted = Q(agent=None, person__in=["", *subjects]) | Q(agent__in=agents)
    rows = list(Quota.objects.filter(wanted, workspace__in=places, enabled=True))
    tiers = tiers_of(places, subjects) if rows else {}
    found = {}
    for window in windows:
        tier = tiers.get((window.workspace_id, window.subject), Tier.FREE.value)
        mine = [row for row in rows if _holds(row, window)]
        found[window.pk] = _amount(
            _candidates(mine, window.scope, window.window, tier), tier
        )
    return {key: amount for key, amount in found.items() if amount}


def windows_of(workspace_id: int, holding: Sequence[Limit]) -> QuerySet[QuotaWindow]:
    """Return the windows that exist for some limits of one workspace."""
    places = [
        Q(
            scope=limit.scope,
            subject=limit.subject,
            window=limit.window,
            starts_at=limit.starts_at,
        )
        for limit in holding
    ]
    found = reduce(or_, places, Q(pk__in=[]))
    return QuotaWindow.objects.filter(found, workspace_id=workspace_id)


def recorded(spender: Spender, limit: Limit) -> int:
    """Return what the records say was spent since a limit's window began."""
    records = _records(spender, limit)
    spent: int | None = records.aggregate(spent=Sum("cost_microdollars"))["spent"]
    return spent or 0


def recorded_unknown(spender: Spender, limit: Limit) -> int:
    """Return how many calls since then nobody knows the cost of."""
    return _records(spender, limit).filter(cost_microdollars=None).count()


def _records(spender: Spender, limit: Limit) -> QuerySet[UsageRecord]:
    records = UsageRecord.objects.filter(
        workspace_id=spender.workspace_id, created_at__gte=limit.starts_at
    )
    if limit.scope == QuotaScope.USER:
        records = records.filter(person=limit.subject)
    elif limit.scope == QuotaScope.AGENT:
        records = records.filter(agent=int(limit.subject))
    return records


def shares_of(workspace_id: int, person: str) -> dict[str, Share | None]:
    """Return how much of a person's own day and week is used, no amounts (AG-88).

    None for a window without a limit.
    """
    spender = Spender(workspace_id, None, person)
    holding = [one for one in limits_of(spender) if one.scope == QuotaScope.USER]
    spent = _spent(workspace_id, holding)
    shares: dict[str, Share | None] = dict.fromkeys(UsageWindow.values)
    for limit in holding:
        used = spent.get(limit.place)
        used = recorded(spender, limit) if used is None else used
        shares[limit.window] = Share(percent(used, limit.microdollars), limit.ends_at)
    return shares


def percent(used: int, limit: int) -> float:
    """Return 0 to 100 with one decimal; 100.0 only where nothing is left."""
    return min(used * 1000 // limit, 1000) / 10


def base_limit(window: str, tier: str) -> int:
    """Return what a person of a tier may spend where no quota names an amount."""
    bounds = limits()
    base = bounds.person_weekly_microdollars
    if window == UsageWindow.DAILY:
        base = bounds.person_daily_microdollars
    return base * MULTIPLIERS.get(tier, 1)


def _spent(workspace_id: int, holding: Sequence[Limit]) -> dict[Place, int]:
    return {
        row.place: row.settled_microdollars for row in windows_of(workspace_id, holding)
    }


def _concerns(spender: Spender) -> Q:
    wanted = Q(scope=QuotaScope.WORKSPACE)
    if spender.agent_id is not None:
        wanted |= Q(scope=QuotaScope.AGENT, agent_id=spender.agent_id)
    if spender.person:
        wanted |= Q(scope=QuotaScope.USER, person__in=["", spender.person])
        wanted |= Q(scope=QuotaScope.TIER)
    return wanted & Q(workspace_id=spender.workspace_id)


def _holds(quota: Quota, window: QuotaWindow) -> bool:
    """Whether a row is about whom a window is about."""
    whose = str(quota.agent_id or quota.person)
    is_here = quota.workspace_id == window.workspace_id
    return is_here and whose in {"", window.subject}


def _subjects(spender: Spender) -> Iterable[tuple[str, str]]:
    """Yield the scope and subject of each kind of window, people's first."""
    if spender.person:
        yield QuotaScope.USER.value, spender.person
    if spender.agent_id is not None:
        yield QuotaScope.AGENT.value, str(spender.agent_id)
    yield QuotaScope.WORKSPACE.value, ""


def _candidates(
    rows: Iterable[Quota], scope: str, window: str, tier: str
) -> list[Quota]:
    """Return the rows for one window, the one that counts first."""
    scopes = _PEOPLE if scope == QuotaScope.USER else {scope}
    fitting = [
        row
        for row in rows
        if row.scope in scopes and row.window == window and row.tier in {"", tier}
    ]
    return sorted(fitting, key=lambda row: (not row.person, not row.tier))


def _amount(candidates: Sequence[Quota], tier: str) -> int:
    """Return the limit in microdollars, 0 where there is none."""
    if not candidates:
        return 0
    row = candidates[0]
    if row.limit_microdollars is not None:
        return row.limit_microdollars
    return base_limit(row.window, tier)


def _words(limit: Limit) -> str:
    texts = {
        QuotaScope.USER: gettext("Your budget is used up until %(time)s UTC."),
        QuotaScope.AGENT: gettext("The agent's budget is used up until %(time)s UTC."),
        QuotaScope.WORKSPACE: gettext(
            "The workspace's budget is used up until %(time)s UTC."
        ),
    }
    time_text = f"{limit.ends_at:%Y-%m-%d %H:%M}"
    return texts[QuotaScope(limit.scope)] % {"time": time_text}


def _forget(instance: Quota, **_: object) -> None:
    _known.pop(instance.workspace_id, None)


post_save.connect(_forget, Quota)
post_delete.connect(_forget, Quota)
