"""One run that this worker carries: frames in, a batch out. No task of its own."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from langbot.lib.conf import limits
from langbot.lib.redis import run_inbound
from langbot.lib.streams import Entry
from runners.choices import RunStatus
from runners.engine.placement import Place
from runners.engine.results import ResultLog
from runners.engine.snapshot import RunFacts
from runners.gateway.messages import NodeMessage
from runners.ledger.batches import Batch
from runners.protocol.errors import ErrorCode
from runners.protocol.frames import Request as HostCall
from runners.protocol.frames import Response, encode, parse_frame

_FLUSH_ENTRIES = 200  # committed and trimmed at the latest after so many
_FLUSH_BYTES = 1024 * 1024  # of frames in one batch: a batch is copied several times


@dataclass(frozen=True, slots=True)
class Tenure:
    """The claim under which a worker writes a run."""

    token: int
    invocation: int
    place: Place


class ActiveRun:
    """State of a carried run; used on the engine's loop only.

    The committed cursor never passes a host call that is still unanswered, so an
    adopter reads the call again and answers it.
    """

    def __init__(
        self, facts: RunFacts, tenure: Tenure, on_call: Callable[..., None]
    ) -> None:
        self.facts = facts
        self.tenure = tenure
        self.log = ResultLog(facts)
        self.key = run_inbound(facts.public_id)
        self.cursor = "0-0"
        self.known_seq = 0
        self.has_output = False  # written since this worker carries it
        self.start_message: NodeMessage | None = None
        self.backlog: deque[Entry] = deque()  # read, but not applied yet
        self.is_fetching = False
        self.applied_checks: list[str] = []
        self.is_closed = False
        self.cancel_at: float | None = None
        self.last_activity = time.monotonic()
        self._on_call = on_call
        self._open_calls: dict[int, str] = {}
        self._entries_since_flush = 0
        self._bytes_since_flush = 0

    # Frames

    @property
    def has_room(self) -> bool:
        """Whether the next batch may still grow."""
        return self._bytes_since_flush < _FLUSH_BYTES

    def feed(self, entry_id: str, payload: bytes) -> None:
        """Apply one stream entry: a JSON array of frames."""
        self.cursor = entry_id
        self.last_activity = time.monotonic()
        self._entries_since_flush += 1
        self._bytes_since_flush += len(payload)
        for frame in _frames(payload):
            if "seq_id" not in frame:  # from the web node, never from a plugin
                self._lost(str(frame["lost"]))
            elif "code" in frame:
                self._response(frame, len(payload))
            else:
                self._call(frame, entry_id)

    def _response(self, frame: dict[str, Any], size: int) -> None:
        if frame["code"] != 0:
            response = Response(0, frame["code"], frame["message"], frame["data"])
            error = response.error("run")
            self.log.is_over_in_plugin = True
            self.log.fail(error.code, error.message, retryable=error.retryable)
        elif frame.get("chunk_status") == "end":
            self.log.end_of_stream()
        else:
            self.log.apply(frame["data"], size)

    def _call(self, frame: dict[str, Any], entry_id: str) -> None:
        seq_id = frame["seq_id"]
        if seq_id not in self._open_calls:
            self._open_calls[seq_id] = entry_id
            self._on_call(self, HostCall(seq_id, frame["action"], frame["data"]))

    def _lost(self, reason: str) -> None:
        texts = {
            ErrorCode.BACKPRESSURE: "the runner sent more than could be recorded",
            ErrorCode.CONNECTION_LOST: "the connection to the plugin was lost",
        }
        error = texts.get(ErrorCode(reason), reason)
        self.log.is_over_in_plugin = True
        self.log.fail(reason, error, retryable=True)

    def answered(self, seq_id: int) -> None:
        """A host call has its answer on the way."""
        self._open_calls.pop(seq_id, None)
        self.last_activity = time.monotonic()

    # Time

    def overdue(self, now: float, epoch: float) -> bool:
        """End the run when its deadline or its idle time is over; True if it did."""
        bounds = limits()
        deadline = self.facts.deadline_at
        grace = bounds.deadline_grace_seconds
        if deadline is not None and epoch > deadline.timestamp() + grace:
            error = "the run's deadline passed"
            self._time_out(ErrorCode.RUNNER_TIMEOUT, error)
        elif now - self.last_activity > bounds.idle_seconds and not self._open_calls:
            error = f"no result for {bounds.idle_seconds} s"
            self._time_out(ErrorCode.RUNNER_IDLE, error)
        elif self.cancel_at is not None and now >= self.cancel_at:
            self.log.fail(ErrorCode.CANCELLED, "cancelled", status=RunStatus.CANCELLED)
        else:
            return False
        return True

    def _time_out(self, code: str, error: str) -> None:
        self.log.fail(code, error, status=RunStatus.TIMEOUT, retryable=True)

    def begin_cancel(self) -> None:
        """End as cancelled: at once, or after a moment where the runner cooperates."""
        if self.cancel_at is None:
            self.log.is_cancelling = True
            cooperative = self.facts.access.capabilities.get("interrupt", False)
            wait = limits().cancel_grace_seconds if cooperative else 0.0
            self.cancel_at = time.monotonic() + wait

    # Batches

    @property
    def wants_flush(self) -> bool:
        """Whether there is something to write."""
        return bool(
            self.log.events
            or self.log.states
            or self.log.ending
            or self._entries_since_flush >= _FLUSH_ENTRIES
            or not self.has_room
        )

    def take_batch(self) -> Batch:
        """Return what is new; the caller writes it or drops the run."""
        log = self.log
        events, log.events = log.events, []
        states, log.states = log.states, []
        if log.ending is not None:
            events.append(log.ending.event(log.last_sequence))
        self._entries_since_flush = self._bytes_since_flush = 0
        return Batch(
            run_id=self.facts.pk,
            conversation_id=self.facts.conversation_id,
            token=self.tenure.token,
            events=events,
            invocation=self.tenure.invocation,
            cursor=self.safe_cursor(),
            runner_sequence=log.last_sequence,
            first_output_at=log.first_output_at,
            states=states,
            files=log.files.take(),
            known_seq=self.known_seq,
            ending=log.ending,
        )

    def safe_cursor(self) -> str:
        """Return the last entry before the oldest unanswered host call."""
        if not self._open_calls:
            return self.cursor
        return _before(min(self._open_calls.values(), key=_position))


def _frames(payload: bytes) -> list[dict[str, Any]]:
    frames: list[dict[str, Any]] = from_json(payload)
    if b"\\u0000" in payload:
        # No database stores NUL; the parser of single frames removes it.
        frames = [_without_nul(frame) for frame in frames]
    return frames


def _without_nul(frame: dict[str, Any]) -> dict[str, Any]:
    parsed = parse_frame(encode(frame))
    if isinstance(parsed, Response):
        return {
            "seq_id": parsed.seq_id,
            "code": parsed.code,
            "message": parsed.message,
            "data": parsed.data,
            "chunk_status": parsed.chunk_status,
        }
    return {"seq_id": parsed.seq_id, "action": parsed.action, "data": parsed.data}


def _position(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence)


def _before(entry_id: str) -> str:
    milliseconds, sequence = _position(entry_id)
    if sequence > 0:
        return f"{milliseconds}-{sequence - 1}"
    return f"{milliseconds - 1}-{2**64 - 1}"
