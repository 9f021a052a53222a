"""What host calls return in pages (`wire.md` §6); unknown keys are ignored."""

from typing import Any, Literal

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field

from runners.protocol.context import EpochSeconds
from runners.protocol.messages import ContentElement, text_of

Direction = Literal["backward", "forward"]


class HostReply(BaseModel):
    model_config = ConfigDict(extra="ignore")


class TranscriptItem(HostReply):
    """One line of a conversation. `content_json` is the whole message, if kept.

    Released SDKs refuse an item without `transcript_id`, `event_id` and `role`, and
    times that are no integers.
    """

    transcript_id: str = ""
    event_id: str | None = None
    conversation_id: str | None = None
    thread_id: str | None = None
    bot_id: str | None = None
    workspace_id: str | None = None
    run_id: str | None = None
    role: str
    item_type: str = "message"
    content: str | list[ContentElement] | None = None
    content_json: dict[str, Any] | None = None
    attachment_refs: list[dict[str, Any]] = []
    seq: int | None = None
    cursor: str | None = None
    created_at: EpochSeconds | None = None
    metadata: dict[str, Any] = {}

    @property
    def text(self) -> str:
        """The whole text where the host kept it, else the cut one (LB-90)."""
        whole = (self.content_json or {}).get("content")
        return whole if isinstance(whole, str) else text_of(self.content)


class HistoryPage(HostReply):
    """Backward pages are newest first, forward pages oldest first (wire 6)."""

    items: list[TranscriptItem] = []
    next_cursor: str | None = None
    prev_cursor: str | None = None
    has_more: bool = False
    total_count: int | None = None


class SearchResult(HostReply):
    """What was found, newest first; `total_count` is None where there is more."""

    items: list[TranscriptItem] = []
    total_count: int | None = None
    query: str


class EventRecord(HostReply):
    """One event of the conversation, without its payload. Times in epoch seconds."""

    event_id: str
    event_type: str
    event_time: EpochSeconds | None = None
    source: str
    bot_id: str | None = None
    workspace_id: str | None = None
    conversation_id: str | None = None
    thread_id: str | None = None
    actor_type: str | None = None
    actor_id: str | None = None
    actor_name: str | None = None
    subject_type: str | None = None
    subject_id: str | None = None
    input_summary: str | None = None
    input_ref: str | None = None
    raw_ref: str | None = None
    seq: int | None = None
    cursor: str | None = None
    created_at: EpochSeconds | None = None
    metadata: dict[str, Any] = {}


class _Page(HostReply):
    next_cursor: str | None = None
    prev_cursor: str | None = None
    has_more: bool = False
    total_count: int | None = None


class EventPage(_Page):
    """Events, newest first."""

    items: list[EventRecord] = []


class RunRecord(HostReply):
    """A run as other runs of its conversation see it. Times in epoch seconds."""

    run_id: str
    status: str
    event_id: str | None = None
    agent_id: str | None = None
    binding_id: str | None = None
    runner_id: str | None = None
    conversation_id: str | None = None
    thread_id: str | None = None
    workspace_id: str | None = None
    bot_id: str | None = None
    status_reason: str | None = None
    created_at: EpochSeconds | None = None
    started_at: EpochSeconds | None = None
    finished_at: EpochSeconds | None = None
    updated_at: EpochSeconds | None = None
    deadline_at: EpochSeconds | None = None
    cancel_requested_at: EpochSeconds | None = None
    usage: dict[str, Any] | None = None
    metadata: dict[str, Any] = {}


class RunPage(_Page):
    """Runs, newest first."""

    items: list[RunRecord] = []


class RunEvent(HostReply):
    """One event of a run's ledger."""

    run_id: str
    sequence: int
    type: str
    data: dict[str, Any] = {}
    usage: dict[str, Any] | None = None
    created_at: EpochSeconds | None = None
    source: str | None = None


class RunEventPage(_Page):
    """Events of a ledger; forward is oldest first."""

    items: list[RunEvent] = []


class ArtifactMetadata(HostReply):
    """What is known of a file of the conversation."""

    artifact_id: str
    artifact_type: str
    mime_type: str | None = None
    name: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    source: str
    conversation_id: str | None = None
    run_id: str | None = None
    created_at: EpochSeconds | None = None
    expires_at: EpochSeconds | None = None
    metadata: dict[str, Any] = {}


class ArtifactPart(HostReply):
    """Bytes of a file from `offset` on; `has_more` says whether others follow."""

    artifact_id: str
    mime_type: str | None = None
    size_bytes: int | None = None
    offset: int = 0
    content: Base64Bytes = Field(alias="content_base64")
    has_more: bool = False
