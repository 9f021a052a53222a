"""What staff do with a used-up budget: begin it anew, or grant an extra day (AG-90)."""

from datetime import UTC, datetime
from typing import Final

from django.db import transaction
from django.utils.translation import gettext

from agents.choices import QuotaScope, UsageWindow
from agents.resources.budgets import Spender, limits_of
from agents.resources.quotas import QuotaWindow
from langbot.core.audit import record_change, state_of
from langbot.lib.models import lock_rows

EXTRA_DAYS: Final = 5  # of one budget in one day (AG-90)


class WindowRefusedError(Exception):
    """The window cannot be changed so; the text says why."""


def reset_window(window: QuotaWindow, *, author: str) -> bool:
    """Forget what was spent in a window; reserves of running calls stay.

    The records stay, too. False, and no audit entry, where nothing was spent.
    """
    with transaction.atomic():
        rows = lock_rows(QuotaWindow.objects.filter(pk=window.pk))
        if not rows or not (rows[0].settled_microdollars or rows[0].unknown_calls):
            return False
        rows[0].unknown_calls = 0
        _change(rows[0], 0, author, "reset")
    return True


def grant_extra_day(window: QuotaWindow, *, author: str) -> None:
    """Begin a used-up day anew, and take a day's limit off the week.

    The week never falls below nothing. Raises WindowRefusedError for a week, a budget
    that is not used up or has no limit, and after five of them in a day.
    """
    with transaction.atomic():
        rows = {row.window: row for row in _with_week(window)}
        day = rows.get(UsageWindow.DAILY)
        if day is None or day.pk != window.pk or day.ends_at <= datetime.now(UTC):
            raise WindowRefusedError(gettext("Only the current day can be granted."))
        limit = _daily_limit(day)
        if not limit or day.settled_microdollars < limit:
            raise WindowRefusedError(gettext("This budget is not used up."))
        if day.extra_days >= EXTRA_DAYS:
            message = gettext("This budget was granted %d extra days today.")
            raise WindowRefusedError(message % EXTRA_DAYS)
        day.extra_days += 1
        _change(day, 0, author, "extra day granted")
        week = rows.get(UsageWindow.WEEKLY)
        if week is not None:
            left = max(week.settled_microdollars - limit, 0)
            _change(week, left, author, "extra day granted")


def _with_week(window: QuotaWindow) -> list[QuotaWindow]:
    """Return the locked day and the week around it."""
    of_both = QuotaWindow.objects.filter(
        workspace=window.workspace_id,
        scope=window.scope,
        subject=window.subject,
        starts_at__lte=window.starts_at,
        ends_at__gte=window.ends_at,
    )
    return lock_rows(of_both)


def _daily_limit(day: QuotaWindow) -> int:
    spender = Spender(
        day.workspace_id,
        int(day.subject) if day.scope == QuotaScope.AGENT else None,
        day.subject if day.scope == QuotaScope.USER else "",
    )
    found = (one for one in limits_of(spender) if one.place == day.place)
    return next((one.microdollars for one in found), 0)


def _change(row: QuotaWindow, settled: int, author: str, action: str) -> None:
    stored = QuotaWindow.objects.get(pk=row.pk)
    row.settled_microdollars = settled
    row.save(update_fields=["settled_microdollars", "unknown_calls", "extra_days"])
    record_change(author, row, state_of(stored), action=action)


__all__ = ["EXTRA_DAYS", "WindowRefusedError", "grant_extra_day", "reset_window"]
