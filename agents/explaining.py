"""The dry run of matching: which binding wins, and why each other one lost."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Case, IntegerField, Q, QuerySet, Value, When
from django.utils.translation import gettext as _

from agents.choices import BindingScope
from agents.matching import (
    RANK,
    AmbiguousBindingError,
    Candidate,
    candidates,
    choose,
    mismatch,
)
from agents.models import AgentBinding

LOSERS = 200  # that are named; a workspace may have thousands


@dataclass(frozen=True, slots=True)
class Explanation:
    """`tied` is empty or has at least two; `lost` are the nearest, with reasons."""

    winner: AgentBinding | None
    tied: list[AgentBinding]
    lost: list[tuple[AgentBinding, str]]
    lost_count: int


def explain(event: Candidate) -> Explanation:
    """Match an event as admission does, and say why every other binding lost."""
    found = candidates(event)
    tied: list[AgentBinding] = []
    winner, reasons = None, {}
    try:
        resolution = choose(event, found)
        winner, reasons = resolution.winner, resolution.reasons
    except AmbiguousBindingError as error:
        tied = error.tied
    best = {row.pk for row in tied} | ({winner.pk} if winner else set())
    considered = {row.pk for row in found}
    others = _others(event, best)
    lost = [
        (row, reasons.get(row.pk) or _reason(event, row, considered))
        for row in others[:LOSERS]
    ]
    return Explanation(winner, tied, lost, others.count())


def document_of(explanation: Explanation, workspace_id: int) -> dict[str, Any]:
    """Return what people read; bindings of other workspaces stay anonymous."""
    winner = explanation.winner
    return {
        "status": _status(explanation),
        "winner": None if winner is None else _named(winner, workspace_id),
        "tied": [_named(row, workspace_id) for row in explanation.tied],
        "lost": [
            {**_named(row, workspace_id), "reason": reason}
            for row, reason in explanation.lost
        ],
        "lost_count": explanation.lost_count,
    }


def _status(explanation: Explanation) -> str:
    if explanation.tied:
        return "tied"
    return "matched" if explanation.winner else "ignored"


def _named(binding: AgentBinding, workspace_id: int) -> dict[str, Any]:
    mine = binding.agent.workspace_id == workspace_id
    return {
        "binding": str(binding.public_id) if mine else None,
        "agent": str(binding.agent.public_id) if mine else None,
        "agent_slug": binding.agent.slug if mine else None,
        "scope": str(binding.scope),
        "scope_ref": binding.scope_ref,
        "event_pattern": binding.event_pattern if mine else None,
        "priority": binding.priority,
    }


def _others(event: Candidate, best: set[int]) -> QuerySet[AgentBinding]:
    """Return the bindings that did not win, those nearest to it first."""
    mine = Q(agent__workspace_id=event.workspace_id)
    everywhere = Q(scope=BindingScope.GLOBAL, enabled=True)
    rank = Case(
        *(When(scope=scope, then=Value(number)) for scope, number in RANK.items()),
        output_field=IntegerField(),
    )
    return (
        AgentBinding.objects.select_related("agent")
        .filter(mine | everywhere, agent__archived_at=None)
        .exclude(pk__in=best)
        .order_by("-enabled", rank, "-priority", "pk")
    )


def _reason(event: Candidate, binding: AgentBinding, considered: set[int]) -> str:
    if not binding.enabled:
        return _("it is disabled")
    if binding.pk in considered:
        # Only a tie leaves reasons open.
        return mismatch(event, binding) or _("others are more specific, and tie")
    if binding.scope == BindingScope.AGENT:
        return _("it is for messages sent to its agent by name")
    return _("it is for another bot")


__all__ = ["Explanation", "document_of", "explain"]
