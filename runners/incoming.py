"""What comes in, in one form, whichever way it came."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from agents.models import Agent
from artifacts.inputs import StoredInput, store_inputs
from langbot.core.models import Workspace
from runners.models import AgentRun, Conversation


@dataclass(frozen=True, slots=True)
class BotRef:
    """A bot as the ledger names it."""

    public_id: UUID
    slug: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A normalised event (LB-02). `source` is set by the server, never the sender."""

    workspace: Workspace
    source: str
    event_id: str
    type: str
    trigger_source: str
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    bot: BotRef | None = None
    agent: Agent | None = None
    conversation: Conversation | None = None
    external_conversation: str = ""
    thread: str = ""
    actor: dict[str, Any] = field(default_factory=dict)
    subject: dict[str, Any] | None = None
    input: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    delivery: dict[str, Any] = field(default_factory=dict)
    raw_ref: dict[str, Any] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    source_event_type: str = ""
    dry_run: bool = False
    is_first: bool = False  # its id was made here just now: nobody can have sent it
    is_internal: bool = False  # said by code of ours: no rate of follow-ups (AG-08)
    person: str = ""  # whose budget it counts to; empty: who speaks
    steers: AgentRun | None = None  # the one run that it is meant for
    files: StoredInput | None = None  # set by `with_stored_files`


def with_stored_files(incoming: Incoming) -> Incoming:
    """Store the bytes that an event brings, once; its rows come with its admission.

    `admit` does it. Who admits inside a transaction of its own does it before, so that
    nobody waits for a disk under its locks.
    """
    if incoming.files is not None:
        return incoming
    files = store_inputs(incoming.workspace, incoming.input)
    return replace(incoming, files=files)


__all__ = ["BotRef", "Incoming", "with_stored_files"]
