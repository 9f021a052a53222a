"""The tiers of people: a raise holds at once, a lower tier from the next week.

Asking for the tier that one has cancels what waits; at most one change waits (AG-117).
The top tier is staff's to give and to take (AG-118).
"""

from collections.abc import Collection
from datetime import UTC, datetime

from django.db import transaction
from django.utils.translation import gettext

from agents.choices import Tier, UsageWindow
from agents.resources.quotas import PersonTier, window_of
from langbot.core.audit import record_change, state_of
from langbot.lib.models import lock_rows

RANKS = {tier: rank for rank, tier in enumerate(Tier.values)}


class TierRefusedError(Exception):
    """Only staff may change this tier; an API answers 403."""


def tier_of(workspace_id: int, person: str) -> str:
    """Return a person's tier now; `free` for who has none."""
    rows = PersonTier.objects.filter(workspace_id=workspace_id, person=person)
    found = rows.first()
    return Tier.FREE.value if found is None else tier_at(found, datetime.now(UTC))


def tiers_of(
    workspaces: Collection[int], people: Collection[str]
) -> dict[tuple[int, str], str]:
    """Return {(workspace, person): tier now}; who has none is left out."""
    rows = PersonTier.objects.filter(workspace__in=workspaces, person__in=people)
    now = datetime.now(UTC)
    return {(row.workspace_id, row.person): tier_at(row, now) for row in rows}


def tier_at(row: PersonTier, moment: datetime) -> str:
    """Return the tier of a row at a time, the waiting one when its time has come."""
    if row.pending_at is not None and row.pending_at <= moment:
        return row.pending_tier
    return row.tier


def change_tier(
    workspace_id: int, person: str, tier: str, *, author: str, is_staff: bool
) -> PersonTier:
    """Give a person a tier; returns the row, with an audit entry if it changed.

    Raises TierRefusedError for the top tier where nobody of staff asks.
    """
    with transaction.atomic():
        row = _locked(workspace_id, person)
        before = state_of(row) if row.pk else {}
        now = datetime.now(UTC)
        row.tier = tier_at(row, now)
        if not is_staff and Tier.ENTERPRISE in {row.tier, tier}:
            raise TierRefusedError(gettext("Only staff may change this tier."))
        _set(row, tier, now)
        row.save()
        record_change(author, row, before)
    return row


def change_own_tier(
    workspace_id: int, person: str, tier: str, *, author: str, may_raise: bool
) -> PersonTier:
    """Change the tier of the person who asks; as `change_tier` by nobody of staff.

    A tier is worth money and nothing here takes any, so that without `may_raise` it
    can be kept or lowered only. Raises TierRefusedError.
    """
    with transaction.atomic():
        row = _locked(workspace_id, person)
        is_higher = RANKS[tier] > RANKS[tier_at(row, datetime.now(UTC))]
        if is_higher and not may_raise:
            raise TierRefusedError(gettext("Only staff may give a higher tier."))
        return change_tier(workspace_id, person, tier, author=author, is_staff=False)


def _locked(workspace_id: int, person: str) -> PersonTier:
    PersonTier.objects.get_or_create(workspace_id=workspace_id, person=person)
    found = PersonTier.objects.filter(workspace_id=workspace_id, person=person)
    return lock_rows(found)[0]


def _set(row: PersonTier, tier: str, now: datetime) -> None:
    row.pending_tier, row.pending_at = "", None
    if RANKS[tier] >= RANKS[row.tier]:
        row.tier = tier
    else:
        _, row.pending_at = window_of(UsageWindow.WEEKLY, now)
        row.pending_tier = tier


__all__ = [
    "TierRefusedError",
    "change_own_tier",
    "change_tier",
    "tier_at",
    "tier_of",
    "tiers_of",
]
