"""How a run ended, in the words of OpenAI's API."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _

from runners.answers import reply_of
from runners.choices import RunStatus
from runners.models import AgentRun, RunEvent
from runners.openai.errors import CallError

_FINISH_REASONS = frozenset({"stop", "length", "content_filter"})


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the runner reported them, 0 where it said nothing."""

    prompt: int = 0
    completion: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run's end; `error` when there is no whole answer."""

    text: str
    finish_reason: str
    usage: Usage
    error: CallError | None = None


def outcome_of(run_id: UUID) -> Outcome | None:
    """Return how the run ended, None before."""
    run = AgentRun.objects.filter(public_id=run_id).defer("snapshot").first()
    if run is None or not run.is_terminal:
        return None
    last = RunEvent.objects.filter(run=run, seq=run.last_seq).first()
    reason = (last.data if last is not None else {}).get("finish_reason")
    reply = reply_of(run_id) or {}
    return Outcome(
        text=str(reply.get("text") or ""),
        finish_reason=reason if reason in _FINISH_REASONS else "stop",
        usage=read_usage(run.usage),
        error=None if run.status == RunStatus.COMPLETED else _error(run),
    )


def read_usage(given: Any) -> Usage:
    """Return the token counts of a runner's report in either spelling."""
    usage = given if isinstance(given, dict) else {}
    return Usage(
        _count(usage, "prompt_tokens", "input_tokens"),
        _count(usage, "completion_tokens", "output_tokens"),
    )


def _count(usage: dict[str, Any], *names: str) -> int:
    counts = (usage.get(name) for name in names)
    known = (one for one in counts if isinstance(one, int) and one > 0)
    return next(known, 0)


def _error(run: AgentRun) -> CallError:
    code = run.error_code or run.status
    message = run.status_reason or _("The agent could not answer.")
    if run.status == RunStatus.TIMEOUT:
        return CallError(504, code, message, retryable=run.retryable)
    status = 503 if run.retryable else 502
    return CallError(status, code, message, retryable=run.retryable)
