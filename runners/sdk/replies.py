"""Host calls that speak: replies before the run's end, and platform actions."""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Literal

from runners.protocol.actions import Action
from runners.sdk.calls import Calls, HostCallError, result_of

REPLY_TOOL: Final = "event_reply"
MAX_REPLY_CHARACTERS: Final = 200_000  # of a streamed reply; wire 6

MessageChain = Sequence[Mapping[str, Any]]
Operation = Literal["update", "finish", "abort"]


class ReplyCalls(Calls):
    """What a run yields becomes its answer; these speak at once, beside it."""

    __slots__ = ()

    async def call_platform_api(
        self, bot_id: str, action: str, params: Mapping[str, Any] | None = None
    ) -> Any:
        """Act on a bot's platform and return what it answered; done once."""
        data = {"bot_uuid": bot_id, "action": action, "params": dict(params or {})}
        answer = await self.call(Action.CALL_PLATFORM_API, data)
        return result_of(answer, Action.CALL_PLATFORM_API)

    async def send_message(
        self, bot_id: str, target_type: str, target_id: str, message: MessageChain
    ) -> Any:
        """Send a message to anybody the bot can reach, such as `person` `u1`."""
        params = {
            "target_type": target_type,
            "target_id": target_id,
            "message": list(message),
        }
        return await self.call_platform_api(bot_id, "send_message", params)

    async def reply(
        self, message: str | MessageChain, *, quote_origin: bool = False
    ) -> Any:
        """Answer the event now, with a text or with a message chain."""
        if isinstance(message, str) and not quote_origin:
            request = {"tool_name": REPLY_TOOL, "parameters": {"text": message}}
            return result_of(
                await self.call(Action.CALL_TOOL, request), Action.CALL_TOOL
            )
        chain = _text_chain(message) if isinstance(message, str) else list(message)
        return await self._reply({"message": chain, "quote_origin": quote_origin})

    async def reply_files(self, file_ids: Sequence[str]) -> Any:
        """Answer the event with files that this run took out of its sandbox."""
        return await self._reply({"message": []}, file_ids=list(file_ids))

    @asynccontextmanager
    async def reply_stream(self) -> AsyncIterator["ReplyStream"]:
        """Give a reply that grows: `async with ctx.api.reply_stream() as reply`.

        Leaving finishes it; an exception aborts it and goes on.
        """
        stream = ReplyStream(self)
        try:
            yield stream
        except BaseException:
            # What people saw stays as it is when the host cannot be told.
            with suppress(HostCallError):
                await stream.close("abort")
            raise
        await stream.close("finish")

    async def _reply(self, params: Mapping[str, Any], **more: Any) -> Any:
        request = {
            "action": "send_message",
            "context_tool": REPLY_TOOL,
            "params": dict(params),
            **more,
        }
        answer = await self.call(Action.CALL_PLATFORM_API, request)
        return result_of(answer, Action.CALL_PLATFORM_API)


class ReplyStream:
    """One reply that is being written."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._id = str(uuid.uuid4())
        self._is_closed = False
        self.text = ""

    async def update(self, text: str) -> Any:
        """Show `text`, which is the whole reply so far, not its newest part.

        Raises `ValueError` over 200,000 characters and after the end.
        """
        if self._is_closed:
            message = "the reply has ended"
            raise ValueError(message)
        if len(text) > MAX_REPLY_CHARACTERS:
            message = f"a reply has at most {MAX_REPLY_CHARACTERS} characters"
            raise ValueError(message)
        self.text = text
        return await self._send("update")

    async def close(self, operation: Operation) -> None:
        """End the reply; the second time does nothing."""
        if not self._is_closed:
            self._is_closed = True
            await self._send(operation)

    async def _send(self, operation: Operation) -> Any:
        data = {"stream_id": self._id, "operation": operation, "text": self.text}
        answer = await self._calls.call(Action.REPLY_STREAM, data)
        return result_of(answer, Action.REPLY_STREAM)


def _text_chain(text: str) -> list[dict[str, Any]]:
    return [{"type": "Plain", "text": text}]
