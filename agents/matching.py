"""Which agent answers an event: one, or an error that names the tie (LB-01, LB-09)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from django.db.models import BigIntegerField, CharField, Q, QuerySet
from django.utils.translation import gettext as _

from agents.choices import BindingScope
from agents.models import Agent, AgentBinding
from langbot.lib.prepared import PreparedQuery

RANK = {
    BindingScope.AGENT: 0,
    BindingScope.BOT: 1,
    BindingScope.WORKSPACE: 2,
    BindingScope.GLOBAL: 3,
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """What matching looks at in an event."""

    workspace_id: int
    type: str
    bot_slug: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Resolution:
    """The winning binding, or none; and why each other one lost."""

    winner: AgentBinding | None
    reasons: dict[int, str] = field(default_factory=dict)


class AmbiguousBindingError(Exception):
    """Two bindings match equally well; an admin has to decide."""

    def __init__(self, tied: Sequence[AgentBinding]) -> None:
        self.tied = list(tied)
        names = ", ".join(str(binding.public_id) for binding in tied)
        super().__init__(_("bindings tie for this event: %(names)s") % {"names": names})


def resolve(event: Candidate) -> Resolution:
    """Choose by scope, then priority, then exact event type over a pattern.

    Raises AmbiguousBindingError for a tie.
    """
    return choose(event, candidates(event))


def candidates(event: Candidate) -> list[AgentBinding]:
    """Return the enabled bindings that could concern this event; one query."""
    return _candidates(event.workspace_id, event.bot_slug)


def _all_candidates(workspace_id: Any, bot_slug: Any) -> QuerySet[AgentBinding]:
    mine = Q(agent__workspace_id=workspace_id)
    return (
        AgentBinding.objects.select_related("agent")
        .filter(
            (mine & Q(scope=BindingScope.BOT, scope_ref=bot_slug))
            | (mine & Q(scope=BindingScope.WORKSPACE))
            | Q(scope=BindingScope.GLOBAL),
            enabled=True,
        )
        .order_by("pk")
    )


_candidates = PreparedQuery(_all_candidates, BigIntegerField(), CharField())


def choose(event: Candidate, bindings: Iterable[AgentBinding]) -> Resolution:
    """Pick among given bindings; pure, so that a dry run shows the same."""
    reasons: dict[int, str] = {}
    matching = []
    for binding in bindings:
        reason = mismatch(event, binding)
        if reason:
            reasons[binding.pk] = reason
        else:
            matching.append(binding)
    if not matching:
        return Resolution(None, reasons)
    best = min(map(_order, matching))
    tied = [binding for binding in matching if _order(binding) == best]
    if len(tied) > 1:
        raise AmbiguousBindingError(tied)
    for binding in matching:
        if binding is not tied[0]:
            reasons[binding.pk] = _("a more specific or higher-priority binding won")
    return Resolution(tied[0], reasons)


def mismatch(event: Candidate, binding: AgentBinding) -> str:
    """Return why the binding does not match, or an empty string."""
    agent: Agent = binding.agent
    if not agent.enabled or agent.archived_at is not None:
        return _("its agent is disabled")
    if not any(fnmatchcase(event.type, name) for name in agent.event_types):
        return _("its agent does not take this event type")
    if not fnmatchcase(event.type, binding.event_pattern):
        return _("its event pattern does not match")
    for name, wanted in binding.filters.items():
        if not _fact_matches(event.facts.get(name), wanted):
            return _("its filter on %(name)s does not match") % {"name": name}
    return ""


def _fact_matches(fact: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return any(_fact_matches(fact, one) for one in wanted)
    if isinstance(wanted, str) and isinstance(fact, str):
        return fnmatchcase(fact, wanted)
    return bool(fact == wanted)


def _order(binding: AgentBinding) -> tuple[int, int, bool]:
    pattern = "*" in binding.event_pattern or "?" in binding.event_pattern
    return RANK[BindingScope(binding.scope)], -binding.priority, pattern
