"""What host calls return in pages (`wire.md` §6); unknown keys are ignored."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

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
