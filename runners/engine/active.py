"""One run that this worker carries: frames in, a batch out. No task of its own."""

import asyncio
import base64
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_core import from_json

from langbot.lib.conf import limits
from langbot.lib.redis import run_inbound
from langbot.lib.streams import Entry
from runners.choices import EventType, RunStatus
from runners.engine.effects import Effects
from runners.engine.placement import Place
from runners.engine.results import ResultLog
from runners.engine.snapshot import RunFacts
from runners.gateway.messages import OWN, NodeMessage, split_frames
from runners.gateway.run_streams import NO_DELTA, delta_of
from runners.host_api.waiting import WaitClock
from runners.ledger.batches import Batch
from runners.ledger.fence import NewEvent
from runners.ledger.pausing import EARLIER, SECONDS_LEFT, Pause
from runners.protocol.errors import ErrorCode
from runners.protocol.frames import FrameError, Response, parse_frame
from runners.protocol.frames import Request as HostCall

_FLUSH_ENTRIES = 200  # committed and trimmed at the latest after so many
_FLUSH_BYTES = 1024 * 1024  # of frames in one batch: a batch is copied several times
_LATE = "the run's deadline passed"


@dataclass(frozen=True, slots=True)
class Tenure:
    """The claim under which a worker writes a run."""

    token: int
    invocation: int
    place: Place


@dataclass(frozen=True, slots=True)
class Awaited:
    """A host call that waits until an event is committed; None: the terminal one."""

    seq_id: int
    event: NewEvent | None
    future: asyncio.Future[tuple[int, NewEvent]]
    may_outlive: bool = True  # it gets its answer though the run ended with it


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
        self.key = run_inbound(facts.public_id, tenure.invocation)
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
        self.awaited: list[Awaited] = []
        self.settled: set[int] = set()  # calls that get an answer though the run ended
        self.clock = WaitClock(facts)
        self.effects = Effects()
        self.in_flight: NewEvent | None = None  # the last event of an open transaction
        self.pause: Pause | None = None  # what it still sends is ignored
        self._on_call = on_call
        self._open_calls: dict[int, str] = {}
        self.told: set[tuple[int, str]] = set()  # calls, and the events that tell them
        self._entries_since_flush = 0
        self._bytes_since_flush = 0

    # Frames

    @property
    def has_room(self) -> bool:
        """Whether the next batch may still grow."""
        return self._bytes_since_flush < _FLUSH_BYTES

    def feed(self, entry_id: str, payload: bytes) -> None:
        """Apply the frames of one stream entry."""
        if self.pause is not None:
            return
        self.cursor = entry_id
        self.last_activity = time.monotonic()
        self._entries_since_flush += 1
        self._bytes_since_flush += len(payload)
        for text in split_frames(payload):
            if text.startswith(OWN):
                self._from_node(from_json(text.removeprefix(OWN)))
                continue
            try:
                frame = parse_frame(text)
            except FrameError as error:  # the node looks at the ends of a delta only
                self.log.refuse_frame(error)
                continue
            if not isinstance(frame, Response):
                self._call(frame, entry_id)
            elif frame.is_end:
                self._end(frame, text)
            else:
                self.log.apply(frame.data, len(text))
                if self.log.ending is not None:
                    self._check_that_node_knows(text)

    def _check_that_node_knows(self, text: str) -> None:
        """Have the node told of an end that it took for a delta by its ends.

        Only made up ones are such: a key twice, the first with a delta's value.
        """
        if delta_of(text) != NO_DELTA:
            self.log.is_over_in_plugin = False

    def _end(self, response: Response, text: str) -> None:
        if response.is_error:
            error = response.error("run")
            self.log.is_over_in_plugin = True
            self.log.fail(error.code, error.message, retryable=error.retryable)
        else:
            self.log.end_of_stream()
        self._check_that_node_knows(text)

    def _call(self, call: HostCall, entry_id: str) -> None:
        if call.seq_id not in self._open_calls:
            self._open_calls[call.seq_id] = entry_id
            self._on_call(self, call)

    def _from_node(self, said: dict[str, Any]) -> None:
        if "file" in said:
            content = base64.b64decode(said["content"])
            self.log.receive_file(str(said["file"]), content)
        else:
            self._lost(str(said["lost"]))

    def _lost(self, reason: str) -> None:
        texts = {
            ErrorCode.BACKPRESSURE: "the runner sent more than could be recorded",
            ErrorCode.CONNECTION_LOST: "the connection to the plugin was lost",
        }
        self.log.is_over_in_plugin = True
        self.lose(reason, texts.get(ErrorCode(reason), reason))

    def lose(self, reason: str, error: str) -> None:
        """End without its plugin; a run that was to end anyway ends as it would have.

        Otherwise a plugin that dies of being stopped would turn a cancel to a failure.
        """
        deadline = self.facts.deadline_at
        if self.log.is_cancelling:
            self._cancelled()
        elif deadline is not None and time.time() > deadline.timestamp():
            self._time_out(ErrorCode.RUNNER_TIMEOUT, _LATE)
        else:
            self.log.fail(reason, error, retryable=True)

    def answered(self, seq_id: int) -> None:
        """A host call has its answer on the way."""
        self._open_calls.pop(seq_id, None)
        self.last_activity = time.monotonic()

    # Time

    def overdue(self, now: float, epoch: float) -> bool:
        """End the run when its deadline or its idle time is over; True if it did."""
        if self.pause is not None:
            return False
        bounds = limits()
        deadline = self.facts.deadline_at
        grace = bounds.deadline_grace_seconds
        if deadline is not None and epoch > deadline.timestamp() + grace:
            self._time_out(ErrorCode.RUNNER_TIMEOUT, _LATE)
        elif now - self.last_activity > bounds.idle_seconds and not self._open_calls:
            error = f"no result for {bounds.idle_seconds} s"
            self._time_out(ErrorCode.RUNNER_IDLE, error)
        elif self.cancel_at is not None and now >= self.cancel_at:
            self._cancelled()
        else:
            return False
        return True

    def _cancelled(self) -> None:
        self.log.fail(ErrorCode.CANCELLED, "cancelled", status=RunStatus.CANCELLED)

    def _time_out(self, code: str, error: str) -> None:
        self.log.fail(code, error, status=RunStatus.TIMEOUT, retryable=True)

    def begin_cancel(self) -> None:
        """End as cancelled: at once, or after a moment where the runner cooperates."""
        if self.cancel_at is None:
            self.log.is_cancelling = True
            cooperative = self.facts.access.capabilities.get("interrupt", False)
            wait = limits().cancel_grace_seconds if cooperative else 0.0
            self.cancel_at = time.monotonic() + wait

    def park(self, reason: str) -> None:
        """Give the run up until a person has decided, with what it has said so far."""
        if self.pause is not None or self.log.ending is not None:
            return
        self.log.complete_open_text()
        invocation, snapshot = self.tenure.invocation, self.facts.snapshot
        self.log.tell(NewEvent(EventType.RUN_PAUSED, {"reason": reason}))
        self.pause = Pause(
            {
                **snapshot,
                SECONDS_LEFT: self.clock.unmoved_seconds(),
                EARLIER: [*snapshot.get(EARLIER, ()), invocation],
            }
        )

    # Batches

    @property
    def wants_flush(self) -> bool:
        """Whether there is something to write."""
        return bool(
            self.log.events
            or self.log.states
            or self.log.ending
            or self.log.actions
            or self._entries_since_flush >= _FLUSH_ENTRIES
            or not self.has_room
        )

    def take_batch(self) -> Batch:
        """Return what is new; the caller writes it or drops the run."""
        log = self.log
        events, log.events = log.events, []
        states, log.states = log.states, []
        actions, log.actions = log.actions, []
        if log.ending is not None:
            events.append(log.ending.event(log.last_sequence))
        self._entries_since_flush = self._bytes_since_flush = 0
        self.in_flight = events[-1] if events else None
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
            can_be_steered=self.facts.access.capabilities.get("steering", False),
            ending=log.ending,
            actions=actions,
            deadline_at=self.moved_deadline(),
            pause=self.pause if log.ending is None else None,
        )

    def moved_deadline(self) -> datetime | None:
        """Return the deadline where a wait for a person has moved it since."""
        if not self.clock.is_changed:
            return None
        self.clock.is_changed = False
        return self.facts.deadline_at

    def settle(self, batch: Batch, first_seq: int) -> None:
        """Tell the calls that wait for what was committed."""
        waiting, self.awaited = self.awaited, []
        for one in waiting:
            place = _place_of(one.event, batch)
            if place is None:
                self.awaited.append(one)
            elif not one.future.done():
                one.future.set_result((first_seq + place, batch.events[place]))
                if one.may_outlive:
                    self.settled.add(one.seq_id)

    def safe_cursor(self) -> str:
        """Return the last entry before the oldest unanswered host call."""
        if not self._open_calls:
            return self.cursor
        return _before(min(self._open_calls.values(), key=_position))


def _place_of(event: NewEvent | None, batch: Batch) -> int | None:
    """Return where an event, or the terminal one, is in a batch."""
    if event is None:
        return len(batch.events) - 1 if batch.ending is not None else None
    places = (place for place, one in enumerate(batch.events) if one is event)
    return next(places, None)


def _position(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence)


def _before(entry_id: str) -> str:
    milliseconds, sequence = _position(entry_id)
    if sequence > 0:
        return f"{milliseconds}-{sequence - 1}"
    return f"{milliseconds - 1}-{2**64 - 1}"
