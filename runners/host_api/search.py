"""history_search (`wire.md` §6, LB-73)."""

from typing import Any

from pydantic import Field

from langbot.lib.conf import limits
from runners.host_api.calls import CallData, HostCall
from runners.ledger.history import wire_item
from runners.ledger.search import search_transcript

_NAMES = 20  # roles or item types of one filter


class Filters(CallData):
    conversation_id: str | None = None
    roles: list[str] | None = Field(default=None, max_length=_NAMES)
    item_types: list[str] | None = Field(default=None, max_length=_NAMES)


class SearchRequest(CallData):
    query: str = Field(min_length=1)
    filters: Filters | None = None
    top_k: int = Field(default=10, ge=1)


async def history_search(call: HostCall) -> dict[str, Any]:
    """Return the newest items of the run's own conversation that match.

    `total_count` is null where there are more than were asked for.
    """
    data = call.read(SearchRequest)
    filters = data.filters or Filters()
    found = await call.database(
        search_transcript,
        call.facts.conversation_id,
        data.query[: limits().follow_up_characters],
        limit=min(data.top_k, limits().history_search),
        roles=filters.roles or (),
        item_types=filters.item_types or (),
    )
    own = call.facts.conversation_public_id
    return {
        "items": [wire_item(item, own) for item in found.items],
        "total_count": None if found.has_more else len(found.items),
        "query": data.query,
    }
