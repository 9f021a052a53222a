"""Host calls about the conversation: its prompt, history, events and follow-ups."""

from collections.abc import Sequence
from typing import Any, Literal

from runners.protocol.actions import Action
from runners.protocol.pages import (
    Direction,
    EventPage,
    EventRecord,
    HistoryPage,
    SearchResult,
)
from runners.sdk.answers import SteeringItem
from runners.sdk.calls import Calls, parsed_list, required

SteeringMode = Literal["all", "one"]


class ConversationCalls(Calls):
    """A run reads its own conversation and no other."""

    __slots__ = ()

    async def get_prompt(self) -> list[dict[str, Any]]:
        """Return the agent's prompt as messages with role and content."""
        data = await self.call(Action.GET_PROMPT)
        prompt = required(data, "prompt", Action.GET_PROMPT)
        return [item for item in prompt if isinstance(item, dict)]

    async def history_page(
        self,
        *,
        limit: int = 50,
        before_cursor: str | None = None,
        after_cursor: str | None = None,
        direction: Direction = "backward",
        include_attachments: bool = False,
    ) -> HistoryPage:
        """Return a page of the conversation; backward pages are newest first."""
        request = {
            "conversation_id": None,
            "before_cursor": before_cursor,
            "after_cursor": after_cursor,
            "limit": limit,
            "direction": direction,
            "include_attachments": include_attachments,
        }
        return await self._ask(HistoryPage, Action.HISTORY_PAGE, request)

    async def history_search(
        self,
        query: str,
        *,
        top_k: int = 10,
        roles: Sequence[str] = (),
        item_types: Sequence[str] = (),
    ) -> SearchResult:
        """Return the newest items that have every word of `query`."""
        filters = {"roles": list(roles), "item_types": list(item_types)}
        request = {"query": query, "filters": filters, "top_k": top_k}
        return await self._ask(SearchResult, Action.HISTORY_SEARCH, request)

    async def event_get(self, event_id: str) -> EventRecord:
        """Return an event of the conversation."""
        return await self._ask(EventRecord, Action.EVENT_GET, {"event_id": event_id})

    async def event_page(
        self,
        *,
        event_types: Sequence[str] = (),
        before_cursor: str | None = None,
        limit: int = 50,
    ) -> EventPage:
        """Return events of the conversation, newest first."""
        request = {
            "conversation_id": None,
            "event_types": list(event_types) or None,
            "before_cursor": before_cursor,
            "limit": limit,
        }
        return await self._ask(EventPage, Action.EVENT_PAGE, request)

    async def steering_pull(
        self, mode: SteeringMode = "all", limit: int | None = None
    ) -> list[SteeringItem]:
        """Take what people added to this run since the last pull, oldest first.

        What was taken belongs to this run: nobody else answers it.
        """
        action = Action.STEERING_PULL
        data = await self.call(action, {"mode": mode, "limit": limit})
        return parsed_list(SteeringItem, required(data, "items", action), action)
