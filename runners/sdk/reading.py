"""Host calls that read and keep things: search, events, runs, storage, files."""

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from runners.protocol.actions import Action
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.pages import (
    ArtifactMetadata,
    ArtifactPart,
    Direction,
    EventPage,
    EventRecord,
    RunEventPage,
    RunPage,
    SearchResult,
)

Reply = TypeVar("Reply", bound=BaseModel)
StoragePlace = Literal["plugin", "workspace"]


class HostCallError(ProtocolError):
    """A host call that was refused, failed, or got no answer in time."""


class ReadingCalls:
    """The part of `HostApi` that needs nothing but its `call`."""

    __slots__ = ()
    run_id: str

    async def call(
        self, action: str, data: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Make any host call of this run and return its data."""
        raise NotImplementedError

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

    async def run_list(
        self,
        *,
        statuses: Sequence[str] = (),
        before_cursor: str | None = None,
        limit: int = 50,
    ) -> RunPage:
        """Return runs of the conversation, newest first."""
        request = {
            "conversation_id": None,
            "statuses": list(statuses) or None,
            "before_cursor": before_cursor,
            "limit": limit,
        }
        return await self._ask(RunPage, Action.RUN_LIST, request)

    async def run_events_page(
        self,
        run_id: str | None = None,
        *,
        before_cursor: str | None = None,
        after_cursor: str | None = None,
        limit: int = 50,
        direction: Direction = "forward",
    ) -> RunEventPage:
        """Return a page of a run's ledger: this one's, or one this run may see."""
        request = {
            "target_run_id": run_id or self.run_id,
            "before_cursor": before_cursor,
            "after_cursor": after_cursor,
            "limit": limit,
            "direction": direction,
        }
        return await self._ask(RunEventPage, Action.RUN_EVENTS_PAGE, request)

    async def storage_set(
        self, key: str, value: bytes, place: StoragePlace = "plugin"
    ) -> None:
        """Keep bytes, at most 10 MiB, for this plugin or for the whole workspace."""
        encoded = base64.b64encode(value).decode()
        request = {"key": key, "value_base64": encoded}
        await self.call(f"set_{place}_storage", request)

    async def storage_get(self, key: str, place: StoragePlace = "plugin") -> bytes:
        """Return the bytes; `not_found` where there are none."""
        action = f"get_{place}_storage"
        data = await self.call(action, {"key": key})
        try:
            return base64.b64decode(required(data, "value_base64", action))
        except (TypeError, ValueError):
            message = f"the answer to {action} is malformed"
            raise HostCallError(ErrorCode.HOST_MALFORMED_RESPONSE, message) from None

    async def storage_delete(self, key: str, place: StoragePlace = "plugin") -> None:
        """Remove a value; `not_found` where there is none."""
        await self.call(f"delete_{place}_storage", {"key": key})

    async def storage_keys(self, place: StoragePlace = "plugin") -> list[str]:
        """Return all keys, in order."""
        action = f"get_{place}_storage_keys"
        keys = required(await self.call(action), "keys", action)
        return [str(key) for key in keys]

    async def artifact_metadata(self, artifact_id: str) -> ArtifactMetadata:
        """Return what is known of a file of the conversation."""
        request = {"artifact_id": artifact_id}
        return await self._ask(ArtifactMetadata, Action.ARTIFACT_METADATA, request)

    async def artifact_read(
        self, artifact_id: str, *, offset: int = 0, limit: int | None = None
    ) -> ArtifactPart:
        """Return bytes from `offset` on: at most 1 MiB, up to 10 MiB with `limit`."""
        request = {"artifact_id": artifact_id, "offset": offset, "limit": limit}
        return await self._ask(ArtifactPart, Action.ARTIFACT_READ, request)

    async def artifact_read_range(
        self, artifact_id: str, offset: int = 0, length: int = 65_536
    ) -> ArtifactPart:
        """Return `length` bytes from `offset` on."""
        request = {"artifact_id": artifact_id, "offset": offset, "length": length}
        return await self._ask(ArtifactPart, Action.ARTIFACT_READ_RANGE, request)

    async def artifact_chunks(self, artifact_id: str) -> AsyncIterator[bytes]:
        """Yield a whole file, 1 MiB at a time."""
        offset, has_more = 0, True
        while has_more:
            part = await self.artifact_read(artifact_id, offset=offset)
            offset += len(part.content)
            has_more = part.has_more and bool(part.content)
            yield part.content

    async def _ask(
        self, model: type[Reply], action: str, request: Mapping[str, Any]
    ) -> Reply:
        return parsed(model, await self.call(action, request), action)


def required(data: Mapping[str, Any], key: str, action: str) -> Any:
    """Return a member of an answer; raises HostCallError without it."""
    if data.get(key) is None:
        message = f"the answer to {action} has no {key}"
        raise HostCallError(ErrorCode.HOST_MALFORMED_RESPONSE, message)
    return data[key]


def parsed(model: type[Reply], data: Any, action: str) -> Reply:
    """Return an answer as its type; raises HostCallError for anything else."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        message = f"the answer to {action} is malformed: {error.error_count()} errors"
        raise HostCallError(ErrorCode.HOST_MALFORMED_RESPONSE, message) from error
