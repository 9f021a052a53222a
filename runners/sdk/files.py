"""Host calls about files: those of the conversation, and those of a sandbox."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from runners.protocol.actions import Action
from runners.protocol.pages import ArtifactMetadata, ArtifactPart
from runners.sdk.answers import Box, BoxBinding, BoxFile, BoxStatus
from runners.sdk.calls import Calls, parsed_list, required


class FileCalls(Calls):
    """A run reads files of its own conversation."""

    __slots__ = ()

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


class BoxCalls(Calls):
    """A sandbox that the host lends to the run, where it has one."""

    __slots__ = ()

    async def get_box_status(self) -> BoxStatus:
        return await self._ask(BoxStatus, Action.GET_BOX_STATUS)

    async def list_boxes(self) -> list[Box]:
        action = Action.LIST_BOXES
        items = required(await self.call(action), "items", action)
        return parsed_list(Box, items, action)

    async def acquire_box(
        self, reuse_key: str, options: Mapping[str, Any] | None = None
    ) -> Box:
        """Return the sandbox of this key, made where there is none."""
        request = {"reuse_key": reuse_key, "options": dict(options or {})}
        return await self._ask(Box, Action.ACQUIRE_BOX, request)

    async def bind_box(self, box_id: str) -> BoxBinding:
        """Work in this sandbox from now on."""
        return await self._ask(BoxBinding, Action.BIND_BOX, {"box_id": box_id})

    async def import_box_attachments(
        self, attachment_ids: Sequence[str] | None = None
    ) -> list[BoxFile]:
        """Copy files of the input into the sandbox; all of them without ids."""
        action = Action.IMPORT_BOX_ATTACHMENTS
        ids = None if attachment_ids is None else list(attachment_ids)
        data = await self.call(action, {"attachment_ids": ids})
        return parsed_list(BoxFile, required(data, "items", action), action)

    async def export_box_files(self, paths: Sequence[str]) -> list[BoxFile]:
        """Take files out of the sandbox; nothing is sent. `reply_files` sends them."""
        action = Action.EXPORT_BOX_FILES
        data = await self.call(action, {"paths": list(paths)})
        found = parsed_list(BoxFile, required(data, "items", action), action)
        warning = data.get("warning")
        return [item.model_copy(update={"warning": warning}) for item in found]
