"""Plays the worker of a run: writes its ledger and publishes as the engine does."""

from datetime import UTC, datetime
from typing import Any

from langbot.lib.redis import quick_client, run_live
from runners.choices import EventType, RunStatus
from runners.ledger.batches import Batch, Ending, write_batches
from runners.ledger.fence import NewEvent, live_document
from runners.ledger.finishing import Reply
from runners.models import AgentRun
from runners.protocol.frames import encode


class PlayedRun:
    """A queued run, claimed by this test."""

    def __init__(self, run: AgentRun) -> None:
        self.run = run
        self.text = ""
        claimed = AgentRun.objects.filter(pk=run.pk, status=RunStatus.QUEUED).update(
            status=RunStatus.RUNNING, fencing_token=1, started_at=datetime.now(UTC)
        )
        assert claimed
        self.write([NewEvent(EventType.RUN_STARTED, {})])

    def say(self, *parts: str) -> None:
        """Stream text, one event per part."""
        self.text += "".join(parts)
        self.write([NewEvent(EventType.MESSAGE_DELTA, {"text": one}) for one in parts])

    def add(self, kind: EventType, data: dict[str, Any]) -> None:
        self.write([NewEvent(kind, data)])

    def complete(self) -> None:
        self.end(Ending(RunStatus.COMPLETED, reply=Reply(self.text)))

    def fail(self, code: str, error: str) -> None:
        self.end(Ending(RunStatus.FAILED, code, error))

    def end(self, ending: Ending) -> None:
        self.write([ending.event()], ending)

    def write(self, events: list[NewEvent], ending: Ending | None = None) -> None:
        run = self.run
        batch = Batch(run.pk, run.conversation_id, 1, events, ending=ending)
        last = write_batches([batch]).last_seq[run.pk]
        for seq, event in enumerate(events, last - len(events) + 1):
            quick_client().xadd(
                run_live(run.public_id),
                {
                    b"e": encode(
                        live_document(
                            run.public_id, seq, event.type, event.data, event.created_at
                        )
                    )
                },
                id=f"{seq}-0",
            )
        quick_client().expire(run_live(run.public_id), 60)
