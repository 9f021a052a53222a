"""The checks, in the order in which they are made.

Each takes the runner under test and returns a detail worth telling. It raises NotKept
for what the protocol does not allow, NotTried where it does not apply.
"""

from collections.abc import Callable
from typing import Any, Final

from django.core.exceptions import ValidationError

from agents.registry.config_items import read_schema
from agents.registry.config_schema import validate_config
from runners.choices import RunStatus
from runners.conformance.report import NotKept, NotTried
from runners.conformance.subject import Subject, asks, events_of, reply_text
from runners.models import AgentRun
from runners.protocol.errors import ErrorCode
from runners.protocol.manifest import ManifestError, parse_runner_id
from runners.services import request_cancel

Check = Callable[[Subject], str]
DEADLINE_SECONDS: Final = 1
# What a runner of that type can never mean.
_WRONG: Final[dict[str, Any]] = {
    "integer": "many",
    "number": "many",
    "boolean": "perhaps",
    "array": "not a list",
}


def manifest(subject: Subject) -> str:
    """The runner is listed, and nothing in its manifest was refused."""
    descriptor = subject.descriptor
    if descriptor.last_error:
        raise NotKept(descriptor.last_error)
    try:
        parse_runner_id(descriptor.runner_id)
    except ManifestError as error:
        raise NotKept(error.message) from None
    if not descriptor.label:
        message = "it has no label in any language"
        raise NotKept(message)
    return f"kind {descriptor.kind}, version {descriptor.version or 'unknown'}"


def message(subject: Subject) -> str:
    """A message is answered with text, or with a question to the person."""
    run = subject.completed(subject.start())
    text = reply_text(run)
    if not text.strip() and asks(run):
        return "a question"
    if not text.strip():
        reason = "the run completed without a text"
        raise NotKept(reason)
    return f"{len(text)} characters"


def results(subject: Subject) -> str:
    """Every result is valid, of a known type, and the runner itself ends the run."""
    run = subject.end(subject.start())
    events = events_of(run)
    dropped = [one.data.get("code") for one in events if one.type == "warning"]
    if dropped:
        reason = f"the host dropped results: {', '.join(map(str, dropped))}"
        raise NotKept(reason)
    if events[-1].runner_sequence is None:
        reason = "the stream ended without run.completed or run.failed"
        raise NotKept(reason)
    return f"{events[-1].runner_sequence} results"


def streaming(subject: Subject) -> str:
    """A runner that says it streams sends parts, and they make the whole answer."""
    if not subject.can("streaming"):
        reason = "it does not say that it streams"
        raise NotTried(reason)
    run = subject.completed(subject.start())
    deltas = [str(one.data["text"]) for one in events_of(run, "message.delta")]
    if not deltas and asks(run):
        reason = "it answers with a question"
        raise NotTried(reason)
    if not deltas:
        reason = "no delta came"
        raise NotKept(reason)
    if "".join(deltas).strip() != reply_text(run).strip():
        reason = "the deltas are not the parts of the answer"
        raise NotKept(reason)
    return f"{len(deltas)} deltas"


def unknown_keys(subject: Subject) -> str:
    """Context keys of a later protocol are ignored."""
    subject.completed(subject.start(unknown_keys=True))
    return ""


def concurrency(subject: Subject) -> str:
    """Two runs at once both complete, each with its own words."""
    words = ("conformance-left", "conformance-right")
    started = [subject.start(f"{subject.plan.message} {word}") for word in words]
    replies = [reply_text(subject.completed(run_id)) for run_id in started]
    for word, other in ((0, 1), (1, 0)):
        if words[other] in replies[word] and words[word] not in replies[word]:
            reason = "a run answered with the words of the other"
            raise NotKept(reason)
    return ""


def cancel(subject: Subject) -> str:
    """A cancelled run ends as cancelled; a runner with `interrupt` ends it itself."""
    run = _cancelled(subject)
    is_own = events_of(run)[-1].runner_sequence is not None
    if subject.can("interrupt") and not is_own:
        reason = "it says it can be interrupted, and the host had to stop it"
        raise NotKept(reason)
    return "by the runner" if is_own else "by the host"


def cancel_leaves_no_trace(subject: Subject) -> str:
    """After a hard cancel the plugin is connected still and answers."""
    _cancelled(subject)
    subject.completed(subject.start())
    return ""


def deadline(subject: Subject) -> str:
    """A run that is late ends as `timeout`, and the next one is answered."""
    with subject.config(timeout=DEADLINE_SECONDS):
        run = subject.end(subject.slow())
    if run.status == RunStatus.COMPLETED:
        reason = "its runs end at once; name a slow one with --slow-message"
        raise NotTried(reason)
    if (run.status, run.error_code) != (
        RunStatus.TIMEOUT,
        ErrorCode.RUNNER_TIMEOUT.value,
    ):
        reason = f"the run is {run.status} {run.error_code}"
        raise NotKept(reason)
    subject.completed(subject.start())
    return ""


def wrong_config(subject: Subject) -> str:
    """Its schema refuses settings that make no sense."""
    schema = subject.descriptor.config_schema
    found = [item for item in read_schema(schema) if item.type in _WRONG]
    if not found:
        reason = "no setting of it has a type that could be wrong"
        raise NotTried(reason)
    for item in found:
        settings = {**subject.plan.config, item.name: _WRONG[item.type]}
        try:
            validate_config(schema, settings)
        except ValidationError as error:
            if item.name in error.message_dict:
                continue
        reason = f"{item.name} takes {_WRONG[item.type]!r}"
        raise NotKept(reason)
    return f"{len(found)} settings"


def _cancelled(subject: Subject) -> AgentRun:
    run_id = subject.slow()
    if not request_cancel(AgentRun.objects.get(public_id=run_id), "conformance check"):
        reason = "the run ended before it could be cancelled"
        raise NotTried(reason)
    run = subject.end(run_id)
    if run.status == RunStatus.COMPLETED:
        reason = "the run ended before it could be cancelled"
        raise NotTried(reason)
    if run.status != RunStatus.CANCELLED:
        reason = f"the run is {run.status} {run.error_code}"
        raise NotKept(reason)
    return run


CHECKS: Final[dict[str, Check]] = {
    "manifest": manifest,
    "config.refused": wrong_config,
    "message.answered": message,
    "results.valid": results,
    "results.streamed": streaming,
    "context.unknown_keys": unknown_keys,
    "runs.concurrent": concurrency,
    "cancel.ends": cancel,
    "cancel.connection_lives": cancel_leaves_no_trace,
    "deadline.kept": deadline,
}
