"""One run of a runner on the host in memory, and what came of it."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from runners.protocol.actions import Action
from runners.protocol.errors import ErrorCode
from runners.protocol.frames import Request
from runners.protocol.messages import Message
from runners.protocol.results import ResultError, delta_text, parse_result
from runners.sdk.context import RunContext
from runners.sdk.execution import Execution
from runners.sdk.results import Result
from runners.sdk.runner import Runner, check_runner
from runners.sdk.testing.given import Given, build_context
from runners.sdk.testing.host import HostCallMade, MemoryHost

_SEQ_ID: Final = 1


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What a run said, asked and left behind.

    `status` is `completed`, `failed` or `timeout`, with `error_code` and `error` for
    the last two; `exception` is what the runner raised. `reply` is the answer people
    see, `replies` what was said beside it. `warnings` are results that the host would
    have dropped, with the reason: there should be none.
    """

    results: list[Result]
    reply: str
    status: str
    calls: list[HostCallMade]
    state: dict[str, dict[str, Any]]
    storage: dict[str, dict[str, bytes]]
    replies: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error_code: str = ""
    error: str = ""
    exception: Exception | None = None

    def of(self, *types: str) -> list[dict[str, Any]]:
        """Return the data of the results of these types, in order."""
        return [result.data for result in self.results if result.type in types]

    def called(self, action: str) -> list[Mapping[str, Any]]:
        """Return the data of the calls of this action, in order."""
        return [call.data for call in self.calls if call.action == action]


class _Watched(Runner):
    """Keeps what the runner raised, which the wire tells in words only."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.exception: Exception | None = None

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        stream = self._runner.run(ctx)
        try:
            async for result in stream:
                yield result
        except Exception as error:
            self.exception = error
            raise
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()


async def run_runner(runner: Runner, text: str, given: Given) -> RunOutcome:
    """Carry one run to its end.

    Raises `ManifestError` for a runner that the host would not list, `ValueError` for
    settings that its schema refuses.
    """
    check_runner(type(runner))
    context = build_context(type(runner), text, given)
    host = MemoryHost(type(runner), context, given)
    data = {"runner_name": runner.name, "context": context}
    watched = _Watched(runner)
    await Execution(host, Request(_SEQ_ID, Action.RUN_RUNNER, data)).run(watched)
    return _outcome(host, watched.exception)


def _outcome(host: MemoryHost, exception: Exception | None) -> RunOutcome:
    end = host.results[-1]
    error = end["data"] if end["type"] == "run.failed" else {}
    is_late = error.get("code") == ErrorCode.RUNNER_TIMEOUT
    return RunOutcome(
        results=[_result(item) for item in host.results],
        reply=_reply(host.results),
        status="timeout" if is_late else "failed" if error else "completed",
        calls=host.calls,
        state=host.state,
        storage=host.storage,
        replies=host.replies,
        warnings=_warnings(host.results),
        error_code=str(error.get("code", "")),
        error=str(error.get("error", "")),
        exception=exception,
    )


def _result(item: Mapping[str, Any]) -> Result:
    return Result(item["type"], item["data"], item.get("usage"))


def _reply(results: list[dict[str, Any]]) -> str:
    """Return the last whole message, else what the deltas add up to."""
    text, whole = "", None
    for item in results:
        try:
            data = parse_result(item).data
        except ResultError:
            continue
        if (chunk := getattr(data, "chunk", None)) is not None:
            text += delta_text(chunk, text)
        message = getattr(data, "message", None)
        if isinstance(message, Message):
            whole = message.text
    return text if whole is None else whole


def _warnings(results: list[dict[str, Any]]) -> list[str]:
    found = []
    for item in results:
        try:
            parse_result(item)
        except ResultError as error:
            found.append(error.message)
    return found
