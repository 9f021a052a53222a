"""One run of one runner: its results as numbered frames, its ends as results."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final, Protocol

from pydantic import ValidationError

from runners.protocol.context import RunnerContext
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.frames import Request, build_end, build_response
from runners.sdk import results
from runners.sdk.api import Caller, HostApi
from runners.sdk.context import RunContext
from runners.sdk.results import Result
from runners.sdk.runner import Runner

MAX_FAILURE_CHARACTERS: Final = 500

logger = logging.getLogger(__name__)


class RunConnection(Caller, Protocol):
    """The connection, as far as a run needs it."""

    def send(self, frame: bytes) -> None: ...

    async def send_result(self, frame: bytes) -> None: ...


class Execution:
    """The stream of results that answers one `run_runner` request."""

    def __init__(self, connection: RunConnection, request: Request) -> None:
        self._connection = connection
        self._seq_id = request.seq_id
        self._context = request.data.get("context")
        self._sequence = 0
        self._is_ended = False
        self._is_muted = False
        self._run_id = ""

    def mute(self) -> None:
        """Send nothing more: after a cancel not even `end` follows (wire 5)."""
        self._is_muted = True

    async def run(self, runner: Runner | None) -> None:
        """Carry the run to its terminal result and the end of the stream."""
        try:
            context = RunnerContext.load(self._context)
        except ValidationError as error:
            message = f"Context validation failed: {error.error_count()} errors"
            await self._emit(results.failed(ErrorCode.RUNNER_CONTEXT_INVALID, message))
        else:
            self._run_id = context.run_id
            await self._carry(runner, context)
        if not self._is_ended:
            await self._emit(results.run_completed())
        if not self._is_muted:
            self._connection.send(build_end(self._seq_id))

    async def _carry(self, runner: Runner | None, context: RunnerContext) -> None:
        if runner is None:
            message = "This plugin has no such runner."
            await self._emit(results.failed(ErrorCode.RUNNER_NOT_FOUND, message))
            return
        deadline_at = context.runtime.deadline_at
        seconds = None if deadline_at is None else deadline_at - time.time()
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await self._follow(runner, context)
        except TimeoutError as error:
            is_late = limit.expired()
            await self._emit(results.TIMED_OUT if is_late else _exception(error))
        except Exception as error:
            # The one place where a runner's bug ends: in its own run's result.
            logger.exception("runner failed", extra={"run_id": self._run_id})
            await self._emit(_exception(error))

    async def _follow(self, runner: Runner, context: RunnerContext) -> None:
        deadline_at = context.runtime.deadline_at
        api = HostApi(context.run_id, self._connection, deadline_at)
        stream = runner.run(RunContext(context, api))
        try:
            async for result in stream:
                await self._emit(result)
                if self._is_ended or self._is_muted:
                    return  # what follows a terminal result is cut (wire 5)
        finally:
            await _close(stream)

    async def _emit(self, result: object) -> None:
        if self._is_muted:
            return
        if not isinstance(result, Result):
            message = f"yield runners.sdk.results, not {type(result).__name__}"
            raise TypeError(message)
        data: dict[str, Any] = {
            "run_id": self._run_id,
            "type": result.type,
            "data": result.data,
            "sequence": self._sequence + 1,
        }
        if result.usage is not None:
            data["usage"] = result.usage
        frame = build_response(self._seq_id, data)
        self._sequence += 1
        self._is_ended = result.is_terminal
        await self._connection.send_result(frame)


async def _close(stream: AsyncIterator[Result]) -> None:
    if isinstance(stream, AsyncGenerator):
        await stream.aclose()


def _exception(error: Exception) -> Result:
    retryable = isinstance(error, ProtocolError) and error.retryable
    text = f"Error running agent: {type(error).__name__}: {error}"
    return results.failed(
        ErrorCode.RUNNER_EXCEPTION, text[:MAX_FAILURE_CHARACTERS], retryable=retryable
    )
