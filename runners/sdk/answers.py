"""What host calls return beside pages (`wire.md` §6); unknown keys are ignored."""

from dataclasses import dataclass, field
from typing import Any

from runners.protocol.context import (
    Actor,
    ConversationContext,
    EpochSeconds,
    Event,
    RunInput,
    Subject,
)
from runners.protocol.messages import Message, MessageChunk
from runners.protocol.pages import HostReply


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    message: Message
    usage: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ModelChunk:
    """A part of a streamed answer; `text` is only the new part."""

    chunk: MessageChunk | None = None
    usage: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        return self.chunk.text if self.chunk else ""

    @property
    def reasoning(self) -> str:
        """What the model thinks; never part of its answer."""
        return self.chunk.reasoning if self.chunk else ""


@dataclass(frozen=True, slots=True)
class HostVersion:
    version: str
    api_features: list[str] = field(default_factory=list)


class RankedDocument(HostReply):
    """A document of a rerank call, by its place in the request."""

    index: int
    relevance_score: float


class ToolDetail(HostReply):
    """A tool as a model is told of it; `parameters` is its JSON Schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None

    def as_function(self) -> dict[str, Any]:
        """Return it as one of the `funcs` of a model call."""
        about = self.description or ""
        return {
            "name": self.name,
            "human_desc": about,
            "description": about,
            "parameters": self.parameters or {"type": "object", "properties": {}},
        }


class KnowledgeContent(HostReply):
    type: str = "text"
    text: str | None = None


class KnowledgeHit(HostReply):
    """A passage that was found. A higher `score` and a lower `distance` are nearer."""

    id: str
    content: list[KnowledgeContent] = []
    metadata: dict[str, Any] = {}
    distance: float | None = None
    score: float | None = None

    @property
    def text(self) -> str:
        return "".join(part.text or "" for part in self.content)


class SteeringItem(HostReply):
    """What a person added while the run was at work."""

    claimed_run_id: str
    runner_id: str | None = None
    claimed_at: EpochSeconds | None = None
    event: Event
    input: RunInput
    conversation: ConversationContext | None = None
    actor: Actor | None = None
    subject: Subject | None = None
    metadata: dict[str, Any] = {}

    @property
    def text(self) -> str:
        return self.input.text or "".join(
            element.text or "" for element in self.input.contents
        )


class BoxStatus(HostReply):
    """Whether the run may have a sandbox, and how many are left."""

    available: bool
    enabled: bool
    limit: int | None = None
    used: int | None = None
    remaining: int | None = None
    required_reuse_key: str | None = None
    reason: str | None = None


class Box(HostReply):
    id: str
    status: str


class BoxBinding(HostReply):
    """The sandbox the run now works in; `outbox` is a folder inside it."""

    box_id: str
    outbox: str


class BoxFile(HostReply):
    id: str
    name: str
    type: str
    size: int
    path: str | None = None
    warning: str | None = None
