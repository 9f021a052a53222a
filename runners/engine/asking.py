"""Rows of what a run asks people: its questions and its tool calls."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from langbot.lib.conf import limits
from langbot.lib.redaction import redact
from runners.choices import ActionKind
from runners.engine.snapshot import RunFacts
from runners.ledger.journal import CallKey
from runners.ledger.pausing import number_of
from runners.models import PendingAction
from runners.sdk.interactions import Interaction

_QUESTION_SECONDS_MOST = 24 * 3600  # wire 6


class QuestionRefusedError(Exception):
    """A runner's question that nobody can be asked; the text says why."""


def question(facts: RunFacts, payload: dict[str, Any] | None) -> PendingAction:
    """Return the row of a question, to be written with the result that asks it."""
    if "request" not in facts.access.permissions.get("interactions", ()):
        message = "the runner's manifest has no permission interactions.request"
        raise QuestionRefusedError(message)
    try:
        asked = Interaction.model_validate(payload)
    except ValidationError as error:
        issue = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, issue["loc"]))
        message = f"payload {where}: {issue['msg']}"
        raise QuestionRefusedError(message) from None
    form = asked.model_dump(mode="json", exclude={"kind", "expires_at"})
    return PendingAction(
        **_place(facts),
        kind=ActionKind.QUESTION,
        tool_call_id=asked.interaction_id[:200],
        reason=asked.title,
        form={"type": asked.kind, **redact(form)},
        expires_at=_expiry(asked.expires_at),
    )


def _expiry(wanted: int | None) -> datetime:
    seconds = float(limits().question_seconds)
    if wanted is not None:
        seconds = min(max(0.0, wanted - time.time()), _QUESTION_SECONDS_MOST)
    return datetime.now(UTC) + timedelta(seconds=seconds)


def approval(
    facts: RunFacts, key: CallKey, tool: str, arguments: dict[str, Any], call_id: str
) -> PendingAction:
    """Return the row that asks whether a tool may be called."""
    agent = facts.snapshot["agent"]["name"]
    template = facts.snapshot["approval_policy"].get("reason") or ""
    reason = template.replace("{tool}", tool).replace("{agent}", agent)
    return PendingAction(
        **_place(facts),
        kind=ActionKind.APPROVAL,
        tool_call_id=(call_id or number_of(key.invocation, key.plugin_seq_id))[:200],
        tool_name=tool[:200],
        arguments=arguments,
        reason=reason[:1000],
        expires_at=datetime.now(UTC) + timedelta(seconds=limits().parked_seconds),
        invocation=key.invocation,
        plugin_seq_id=key.plugin_seq_id,
    )


def _place(facts: RunFacts) -> dict[str, Any]:
    return {
        "workspace_id": facts.workspace_id,
        "conversation_id": facts.conversation_id,
        "run_id": facts.pk,
        "agent_id": facts.agent_pk,
    }
