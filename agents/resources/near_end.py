"""Tells people of money, once per window, that a budget comes to its end."""

from functools import partial
from typing import Final

from django.db import transaction

from agents.choices import QuotaScope
from agents.resources.quotas import QuotaWindow
from langbot.core.audit_words import address_of
from langbot.core.notices import NoticeKind
from langbot.core.notifications import notify

NEAR_END_PERCENT: Final = 80


def warn_near_end(row: QuotaWindow, cost: int, limit: int) -> None:
    """Notify when a cost brought a window from below 80 % of its limit to more.

    `row` is the locked window as it was before the cost. Called in a transaction; the
    notice is made after it.
    """
    before, after = row.settled_microdollars, row.settled_microdollars + cost
    mark = limit * NEAR_END_PERCENT
    if before * 100 < mark <= after * 100:
        percent = min(after * 100 // limit, 100)
        transaction.on_commit(partial(_tell, row, percent), robust=True)


def _tell(row: QuotaWindow, percent: int) -> None:
    context = {
        "budget": _name_of(row),
        "percent": percent,
        "path": address_of("langbot_agents.quotawindow", row.pk),
    }
    notify(row.workspace_id, NoticeKind.BUDGET, f"quota-window:{row.pk}", context)


def _name_of(row: QuotaWindow) -> str:
    whose = row.subject or str(row.workspace)
    if row.scope == QuotaScope.AGENT:
        whose = _agent_name(row)
    return f"{whose} ({row.starts_at:%Y-%m-%d}, {row.get_window_display()})"


def _agent_name(row: QuotaWindow) -> str:
    from agents.models import Agent

    found = Agent.objects.filter(pk=int(row.subject)).values_list("name", flat=True)
    return found.first() or row.subject


__all__ = ["NEAR_END_PERCENT", "warn_near_end"]
