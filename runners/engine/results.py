"""Turns a runner's results into ledger events and, at the end, into an ending.

Pure bookkeeping of one run: no I/O, no clock but timestamps. Rules: LB-52..LB-63.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json

from langbot.lib.redaction import redact
from runners.choices import EventType, RunStatus
from runners.engine.asking import QuestionRefusedError, question
from runners.engine.files import FileRefusedError, RunFiles
from runners.engine.growing_text import GrowingText
from runners.engine.messages import RunMessages
from runners.engine.oversize import shorten
from runners.engine.result_events import ResultEvents
from runners.engine.snapshot import RunFacts
from runners.engine.state_updates import state_write
from runners.ledger.batches import Ending
from runners.ledger.fence import NewEvent
from runners.ledger.finishing import Reply
from runners.ledger.state_store import StateRefusedError, StateWrite
from runners.models import PendingAction
from runners.protocol.errors import ErrorCode
from runners.protocol.results import (
    MAX_PAYLOAD_BYTES,
    MAX_SEQUENCE,
    ActionRequested,
    ArtifactCreated,
    Message,
    MessageCompleted,
    MessageDelta,
    OversizeResult,
    ParsedResult,
    ReasoningDelta,
    ResultError,
    RunCompleted,
    RunFailed,
    StateUpdated,
    delta_text,
    parse_result,
    plain_text,
    text_of,
)
from runners.sdk.interactions import REQUESTED


class ResultLog(ResultEvents):
    """What a run has produced since its last batch, and what it amounts to."""

    def __init__(self, facts: RunFacts) -> None:
        super().__init__()
        self.facts = facts
        self._run_id = str(facts.public_id)
        self.states: list[StateWrite] = []
        self.actions: list[PendingAction] = []  # questions and approvals
        self.files = RunFiles(facts)
        self.ending: Ending | None = None
        self.last_sequence = 0
        self.is_cancelling = False
        self.is_resumed = False  # another worker carried the run before
        self.is_over_in_plugin = False
        self._text = GrowingText()  # of the message that is being streamed
        self._thought_at = -1  # `_bytes` when the runner thought last
        self.messages = RunMessages()
        self._acted = False
        self._kept: int | None = None  # which text was kept whole last

    def resume(self, sequence: int, text: str, *earlier: Any) -> None:
        """Go on where another worker stopped; `earlier` as `RunMessages` takes it."""
        self.last_sequence, self._text = sequence, GrowingText(text)
        self._characters = self._bytes = len(text) + self.messages.resume(*earlier)
        self.is_resumed = True

    # Results

    def apply(self, raw: dict[str, Any], frame_bytes: int) -> None:
        """Take one result; a bad one becomes a warning and has no other effect."""
        if self.ending is not None:
            return
        text = plain_text(raw) if frame_bytes <= MAX_PAYLOAD_BYTES else None
        if text is not None and raw.get("run_id") == self._run_id:
            sequence = raw.get("sequence")
            if self._accept_sequence(sequence):
                self._plain_delta(text, sequence)
            return
        try:
            result = parse_result(raw, frame_bytes=frame_bytes)
        except OversizeResult as error:
            self._oversize(raw, error)
        except ResultError as error:
            self._refuse(raw, error)
        else:
            self._take(result)

    def _take(self, result: ParsedResult, whole: str | None = None) -> None:
        if result.run_id is not None and result.run_id != self._run_id:
            self.warn("run_id_mismatch", f"a result for run {result.run_id[:64]}")
        elif self._accept_sequence(result.sequence):
            if whole is not None:
                self._keep_whole(result, whole)
            self._apply_valid(result)

    def _refuse(self, raw: dict[str, Any], error: ResultError) -> None:
        if self._accept_sequence(raw.get("sequence")):
            self._warn_of(error)

    def _oversize(self, raw: dict[str, Any], error: ResultError) -> None:
        short = shorten(raw, str(self._text), self.messages.last)
        if short is None:
            self._refuse(raw, error)
            return
        try:
            size = 0 if short.was_said else None
            result = parse_result(short.raw, frame_bytes=size)
        except ResultError as refused:
            self._refuse(raw, refused)
        else:
            self._take(result, short.whole)

    def _keep_whole(self, result: ParsedResult, text: str) -> None:
        """Keep a text as a file; the ledger gets its beginning (C-24)."""
        detail, kept = "the text is in the ledger up to its first part", hash(text)
        if kept != self._kept:  # else said before, and repeated at the end
            self._kept = kept
            name = f"{result.type}.txt"
            self._add_file(lambda: self.files.add_text(text, name), None)
        self.warn(ErrorCode.TOO_LARGE, detail, result_type=result.type)

    def _accept_sequence(self, sequence: Any) -> bool:
        if not _is_sequence(sequence):
            self.warn("bad_sequence", f"sequence {str(sequence)[:40]}")
            return True
        if sequence <= self.last_sequence:
            return False  # applied before: results arrive at least once
        if sequence > self.last_sequence + 1:
            gap = f"{self.last_sequence} was followed by {sequence}"
            self.warn("sequence_gap", gap)
        self.last_sequence = sequence
        return True

    def _apply_valid(self, result: ParsedResult) -> None:
        data = result.data
        if isinstance(data, MessageDelta):
            self._delta(data, result)
        elif isinstance(data, MessageCompleted):
            self._message(data.message, result, data.file_ids)
        elif isinstance(data, ReasoningDelta):
            self._think(data.text, result)
        elif isinstance(data, StateUpdated):
            self._state(data, result)
        elif isinstance(data, RunCompleted):
            self._completed(data, result)
        elif isinstance(data, RunFailed):
            self._failed(data, result)
        elif isinstance(data, ArtifactCreated):
            self._add_file(lambda: self.files.add(data), result)
        else:
            payload = redact(data.model_dump(mode="json"))
            if isinstance(data, ActionRequested):
                self._acted = True
                self._question(data, payload)
            self._add(EventType(result.type), payload, result)

    def _question(self, data: ActionRequested, event: dict[str, Any]) -> None:
        """Have people see a question; one that cannot be asked stays an event."""
        if data.action != REQUESTED:
            return
        try:
            action = question(self.facts, data.payload)
        except QuestionRefusedError as error:
            self.warn(ErrorCode.INVALID_RESULT, str(error), result_type=data.action)
        else:
            self.actions.append(action)
            event["id"] = str(action.public_id)

    def _delta(self, data: MessageDelta, result: ParsedResult) -> None:
        new = delta_text(data.chunk, str(self._text))
        if new and self._has_room_for(new):
            self._text.add(new)
            self._add_text(EventType.MESSAGE_DELTA, new, result.sequence, result.usage)

    def _plain_delta(self, content: str, sequence: Any) -> None:
        """Do what `_delta` does, for content that may be all text so far."""
        new = self._text.added_by(content)
        if new and self._has_room_for(new):
            self._text.add(new)
            number = sequence if _is_sequence(sequence) else None
            self._add_text(EventType.MESSAGE_DELTA, new, number)

    def _think(self, text: str, result: ParsedResult) -> None:
        """Keep thinking apart; a block ends where anything else comes (AG-60)."""
        if not text:
            return
        is_new = self._bytes != self._thought_at
        self._add_text(EventType.REASONING_DELTA, text, result.sequence, result.usage)
        if self.ending is None:
            self.events[-1].data |= self.messages.think(text, self.facts, is_new=is_new)
        self._thought_at = self._bytes

    def _message(
        self,
        message: Message,
        result: ParsedResult | None,
        files: Sequence[str] = (),
    ) -> None:
        text = text_of(message.content)
        content = (
            None
            if isinstance(message.content, str | None)
            else redact(
                [part.model_dump(exclude_none=True) for part in message.content]
            )
        )
        if not self._text and not self._has_room_for(text):
            return
        self._text = GrowingText()
        self.messages.finished.append((text, content))
        body = {"role": message.role, "content": content if content else text}
        data = {"message": body, "text": text, **self._attached(files)}
        self._add(EventType.MESSAGE_COMPLETED, data, result)
        if self.first_output_at is None:
            self.first_output_at = datetime.now(UTC)

    def _state(self, data: StateUpdated, result: ParsedResult) -> None:
        try:
            write = state_write(self.facts, data)
        except StateRefusedError as error:
            self.warn("state_refused", str(error))
            return
        self.states.append(write)
        named = {"scope": write.scope, "key": write.key}
        self._add(EventType.STATE_UPDATED, named, result)

    def receive_file(self, key: str, content: bytes) -> None:
        """Keep what the plugin transferred, once; results name it by its key."""
        if self.ending is None and self.files.find(key) is None:
            self._add_file(lambda: self.files.add_transfer(key, content), None)

    def _attached(self, names: Sequence[str]) -> dict[str, Any]:
        references, unknown = self.files.named(names)
        for name in unknown:
            self.warn(ErrorCode.NOT_FOUND, f"{name[:100]} is no file of this run")
        return {"artifacts": references} if references else {}

    def _add_file(
        self, keep: Callable[[], dict[str, Any]], result: ParsedResult | None
    ) -> None:
        try:
            described = keep()
        except FileRefusedError as error:
            self.warn("artifact_refused", str(error))
        else:
            self._add(EventType.ARTIFACT_CREATED, described, result)

    # Endings

    def _completed(self, data: RunCompleted, result: ParsedResult) -> None:
        self.is_over_in_plugin = True
        if data.message is not None and not self._is_repeat(data.message):
            self._message(data.message, None)
        self.complete_open_text()
        if self.ending is not None:
            return  # that was too much
        if not self._has_output and self._needs_reply():
            error = "the runner ended without any output"
            self.fail(ErrorCode.RUNNER_EMPTY_OUTPUT, error)
            return
        self.ending = Ending(
            RunStatus.COMPLETED,
            finish_reason=data.finish_reason[:100],
            usage=result.usage,
            reply=self.reply(complete=True),
        )

    def _is_repeat(self, message: Message) -> bool:
        return not self._text and self.messages.has(text_of(message.content))

    @property
    def _has_output(self) -> bool:
        return bool(self._text or self.messages or self._acted or self.files)

    def _needs_reply(self) -> bool:
        return self.facts.event_type == "message.received"

    def _failed(self, data: RunFailed, result: ParsedResult) -> None:
        self.is_over_in_plugin = True
        status = RunStatus.FAILED
        if data.code == ErrorCode.CANCELLED and self.is_cancelling:
            status = RunStatus.CANCELLED
        elif data.code == ErrorCode.RUNNER_TIMEOUT:
            status = RunStatus.TIMEOUT
        self.fail(data.code, data.error, status=status, retryable=data.retryable)
        if self.ending is not None:
            self.ending.usage = result.usage

    def end_of_stream(self) -> None:
        """The transport ended: completed when something was said (wire 5)."""
        self.is_over_in_plugin = True
        if self.ending is not None:
            return
        if self._has_output or not self._needs_reply():
            self.complete_open_text()
            reply = self.reply(complete=True)
            self.ending = self.ending or Ending(RunStatus.COMPLETED, reply=reply)
        else:
            error = "the stream ended without a result"
            self.fail(ErrorCode.RUNNER_EMPTY_OUTPUT, error)

    def fail(
        self,
        code: str,
        error: str,
        *,
        status: RunStatus = RunStatus.FAILED,
        retryable: bool = False,
    ) -> None:
        """End the run unsuccessfully; text so far is kept and marked incomplete."""
        if self.ending is None:
            self.ending = Ending(
                status,
                code=str(code)[:100],
                error=error[:2000],
                retryable=retryable,
                reply=self.reply(complete=False),
            )

    def reply(self, *, complete: bool) -> Reply | None:
        """Return what the assistant has said so far."""
        files = list(self.files.references)
        return self.messages.reply(str(self._text), files, complete=complete)

    def tell(self, event: NewEvent) -> None:
        """Add what the host did for the runner while it runs."""
        if event.type == EventType.MESSAGE_COMPLETED:
            self.messages.sent.append(event.data["text"])
        if self._spend(len(to_json(event.data))):
            self.events.append(event)

    def complete_open_text(self) -> None:
        """Make a message of what was streamed and not finished."""
        if self._text:
            self._message(Message(content=str(self._text)), None)


def _is_sequence(value: Any) -> bool:
    return type(value) is int and 0 < value <= MAX_SEQUENCE
