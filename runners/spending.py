"""Whose budget an event or a run counts to."""

from typing import Any
from uuid import UUID

from agents.resources.budgets import QuotaExceededError, Spender, check_budget
from agents.resources.usage import PERSON_LENGTH
from runners.errors import BudgetUsedUpError
from runners.models import AgentRun

API = "api"  # the place of people who speak to no bot


def person_of(bot_id: UUID | None, actor: dict[str, Any]) -> str:
    """Return who speaks, named across conversations; '' where nobody is named."""
    name = actor.get("id")
    return f"{bot_id or API}:{name}"[:PERSON_LENGTH] if name else ""


def person_behind(run_id: int) -> str:
    """Return whose budget a run counts to, as it was frozen; '' before its first claim.

    What a run asks for counts to the same person, wherever they spoke.
    """
    frozen = AgentRun.objects.filter(pk=run_id).values_list("snapshot__person")
    row = frozen.first()
    return str(row[0] or "") if row is not None else ""


def check_admission(
    workspace_id: int,
    agent_id: int | None,
    bot_id: UUID | None,
    actor: dict[str, Any],
    person: str = "",
) -> None:
    """Raise BudgetUsedUpError when nothing is left for an event.

    It counts to `person` where that is known, else to who speaks.
    What calls of running runs hold does not count here: only they are sure to end.
    """
    spender = Spender(workspace_id, agent_id, person or person_of(bot_id, actor))
    try:
        check_budget(spender)
    except QuotaExceededError as error:
        raise BudgetUsedUpError(error) from None


__all__ = ["check_admission", "person_behind", "person_of"]
