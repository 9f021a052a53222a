"""Tells live subscribers of events that no engine wrote."""

from typing import Any
from uuid import UUID

from langbot.lib.exchange import Commands
from langbot.lib.redis import FAILURES, quick_client
from runners.engine.outgoing import add_live_events
from runners.ledger.fence import NewEvent


def publish(run_id: UUID, first_seq: int, events: list[NewEvent]) -> None:
    """Publish committed events; without Redis subscribers find them in the ledger."""
    try:
        commands: Commands = []
        add_live_events(commands, run_id, first_seq, events)
        with quick_client().pipeline(transaction=False) as pipeline:
            for command in commands:
                add: Any = pipeline.execute_command
                add(*command)
            pipeline.execute(raise_on_error=False)
    except FAILURES:
        return  # they look there every 15 s
