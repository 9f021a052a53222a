"""The ledger: events, conversations, runs and everything they produced."""

from runners.ledger.actions import PendingAction, ToolGrant
from runners.ledger.client_calls import ClientCall
from runners.ledger.conversations import Conversation, QueuedMessage, TranscriptItem
from runners.ledger.events import EventLog
from runners.ledger.metadata import RunMetadata
from runners.ledger.outbox import Delivery
from runners.ledger.refusals import HostCallRefusal
from runners.ledger.runs import AgentRun, HostCall, RunEvent
from runners.ledger.runtimes import RemoteRuntime
from runners.ledger.state import RunnerState
from runners.ledger.workers import WorkerNode

__all__ = [
    "AgentRun",
    "ClientCall",
    "Conversation",
    "Delivery",
    "EventLog",
    "HostCall",
    "HostCallRefusal",
    "PendingAction",
    "QueuedMessage",
    "RemoteRuntime",
    "RunEvent",
    "RunMetadata",
    "RunnerState",
    "ToolGrant",
    "TranscriptItem",
    "WorkerNode",
]
