"""Changing bindings: a tie is refused when it is saved, not when an event arrives."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from itertools import combinations
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from agents.choices import BindingScope
from agents.models import AgentBinding
from langbot.core.audit import changes, record_act, state_of
from langbot.core.models import Workspace
from langbot.lib.models import lock_rows

EVENT_PATTERN = r"^[\w.*?:-]+$"  # what people may write; JSON Schema reads it too
LONGEST_PATTERN = 200  # compared; longer ones (only filters are) count as overlapping


def save_binding(
    binding: AgentBinding, *, author: str = "", was: Mapping[str, Any] | None = None
) -> AgentBinding:
    """Check and save a binding with an audit entry; raises ValidationError.

    Safe to call concurrently: of two bindings that tie, one is refused. `was` is its
    state for the entry, where this transaction has touched the row already.
    """
    with transaction.atomic():
        _lock_scope(binding)
        check_binding(binding)
        stored = AgentBinding.objects.filter(pk=binding.pk).first()
        binding.save()
        old = was or (state_of(stored) if stored else {})
        before, after = changes(old, state_of(binding))
        action = "changed" if stored else "created"
        record_act(author, action, binding, before=before, after=after)
    return binding


def delete_binding(binding: AgentBinding, *, author: str = "") -> None:
    """Delete a binding with an audit entry; its runs stay."""
    with transaction.atomic():
        record_act(author, "deleted", binding, before=state_of(binding))
        AgentBinding.objects.filter(pk=binding.pk).delete()


def check_binding(binding: AgentBinding) -> None:
    """Raise ValidationError for what `save_binding` would refuse."""
    binding.full_clean()
    if not isinstance(binding.filters, Mapping):
        raise ValidationError({"filters": _("Enter a JSON object.")})
    if (binding.scope == BindingScope.BOT) != bool(binding.scope_ref):
        message = _("A binding of a bot names the bot's slug; other scopes do not.")
        raise ValidationError({"scope_ref": message})
    for other in _rivals(binding):
        if may_tie(binding, other):
            tie = _(
                "%(other)s would match the same events with the same priority. "
                "Give one of them another priority."
            )
            raise ValidationError({"priority": tie % {"other": other}})


def may_tie(one: AgentBinding, two: AgentBinding) -> bool:
    """Say whether some event could match both equally well.

    Both have the same scope and priority. An exact pattern beats one with wildcards,
    and differing filters on one fact keep two bindings apart.
    """
    if _is_pattern(one.event_pattern) != _is_pattern(two.event_pattern):
        return False
    if any(
        not _overlap_facts(wanted, two.filters[name])
        for name, wanted in one.filters.items()
        if name in two.filters
    ):
        return False
    return any(
        _have_common([one.event_pattern, two.event_pattern, mine, theirs])
        for mine in one.agent.event_types
        for theirs in two.agent.event_types
    )


def lock_places(*workspace_ids: int) -> None:
    """Wait for whoever changes bindings of these workspaces, or global ones.

    Called in a transaction. The order of locks is workspaces, agents, bindings: who
    holds a row of an agent or of a binding before it saves a binding has called this
    before. Other workspaces do not wait: the oldest one's row stands for what is
    global.
    """
    lock_rows(Workspace.objects.filter(Q(pk__in=workspace_ids) | Q(pk__in=_oldest())))


def _lock_scope(binding: AgentBinding) -> None:
    if binding.scope == BindingScope.GLOBAL:  # its rivals are of any workspace
        lock_places()
    else:
        lock_rows(Workspace.objects.filter(pk=binding.agent.workspace_id))


def _oldest() -> QuerySet[Workspace, Any]:
    return Workspace.objects.order_by("pk").values("pk")[:1]


def _rivals(binding: AgentBinding) -> QuerySet[AgentBinding]:
    rivals = AgentBinding.objects.select_related("agent").filter(
        scope=binding.scope,
        scope_ref=binding.scope_ref,
        priority=binding.priority,
        enabled=True,
        agent__archived_at=None,
    )
    if not binding.enabled:
        return rivals.none()
    if binding.scope == BindingScope.AGENT:
        rivals = rivals.filter(agent_id=binding.agent_id)
    elif binding.scope != BindingScope.GLOBAL:
        rivals = rivals.filter(agent__workspace_id=binding.agent.workspace_id)
    return rivals.exclude(pk=binding.pk)


def _is_pattern(text: str) -> bool:
    return "*" in text or "?" in text


def _have_common(patterns: list[str]) -> bool:
    for exact in patterns:
        if not _is_pattern(exact) and "[" not in exact:
            return all(fnmatchcase(exact, pattern) for pattern in patterns)
    return all(_overlap(one, two) for one, two in combinations(patterns, 2))


def _overlap_facts(one: Any, two: Any) -> bool:
    ones = one if isinstance(one, list) else [one]
    twos = two if isinstance(two, list) else [two]
    return any(_overlap_values(a, b) for a in ones for b in twos)


def _overlap_values(one: Any, two: Any) -> bool:
    if isinstance(one, str) and isinstance(two, str):
        return _overlap(one, two)
    return bool(one == two)


def _overlap(one: str, two: str) -> bool:
    """Say whether some text matches both patterns; a `[…]` counts as any text."""
    if max(len(one), len(two)) > LONGEST_PATTERN:
        return True
    left, right = (text.replace("[", "*").replace("]", "*") for text in (one, two))

    @cache
    def meet(i: int, j: int) -> bool:
        if i == len(left) and j == len(right):
            return True
        if i < len(left) and left[i] == "*":
            return meet(i + 1, j) or (j < len(right) and meet(i, j + 1))
        if j < len(right) and right[j] == "*":
            return meet(i, j + 1) or (i < len(left) and meet(i + 1, j))
        if i == len(left) or j == len(right):
            return False
        same = left[i] == right[j] or "?" in (left[i], right[j])
        return same and meet(i + 1, j + 1)

    return meet(0, 0)
