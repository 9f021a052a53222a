"""Model calls of runs, each reserved for before and recorded once after.

What a provider refused cost nothing and leaves no record. A call that was cut off, or
of which nobody knows, leaves one whose cost is flagged as missing.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from agents.choices import CallOutcome
from agents.resources.budgets import QuotaExceededError, Spender
from agents.resources.errors import ModelError, ModelErrorCode
from agents.resources.reserving import CallFacts, begin_call, release_call
from agents.resources.shapes import LlmChunk, ModelSpec
from agents.resources.usage import OpenModelCall
from langbot.lib.conf import limits
from langbot.lib.db import DATABASE_FAILURES
from runners.host_api.calls import HostCall
from runners.ledger.costs import settle_for_run
from runners.protocol.errors import ErrorCode, ProtocolError

logger = logging.getLogger(__name__)

T = TypeVar("T", bound=Mapping[str, Any])

# The provider did no work; of the others nobody knows.
_NOT_BILLED: Final = frozenset(
    {
        ModelErrorCode.UNAUTHORIZED,
        ModelErrorCode.RATE_LIMITED,
        ModelErrorCode.QUOTA_EXCEEDED,
        ModelErrorCode.UNAVAILABLE,
        ModelErrorCode.BAD_REQUEST,
        ModelErrorCode.NOT_FOUND,
        ModelErrorCode.ADDRESS_REFUSED,
    }
)
_MAXIMA: Final = ("max_completion_tokens", "max_tokens")
_closing: set[asyncio.Task[None]] = set()


@dataclass(frozen=True, slots=True)
class Size:
    """What a call may cost: how much goes in, and the most that comes out."""

    estimate: Callable[[], int]
    most_output: int | None = None


def most_output(*arguments: Mapping[str, Any]) -> int | None:
    """Return the answer's longest length in tokens, where the arguments name one."""
    for given in arguments:
        for name in _MAXIMA:
            value = given.get(name)
            if type(value) is int and value > 0:
                return value
    return None


async def metered(
    call: HostCall, model: ModelSpec, size: Size, ask: Callable[[], Awaitable[T]]
) -> T:
    """Return a model's answer; raises `quota_exceeded` where nothing is left."""
    opened = await _begin(call, model, size)
    try:
        answer = await ask()
    except BaseException as error:
        await _close(call, opened, error, has_begun=False)
        raise
    await _settle(call, opened, answer.get("usage"), CallOutcome.COMPLETED)
    return answer


async def metered_stream(
    call: HostCall,
    model: ModelSpec,
    size: Size,
    ask: Callable[[], AsyncGenerator[LlmChunk, None]],
) -> AsyncGenerator[LlmChunk, None]:
    """Yield a model's chunks; the call is recorded before the stream ends."""
    opened = await _begin(call, model, size)
    usage: dict[str, Any] | None = None
    has_begun = False
    try:
        async with aclosing(ask()) as chunks:
            async for chunk in chunks:
                has_begun = True
                usage = chunk.get("usage") or usage
                yield chunk
    except BaseException as error:
        if usage is None:
            await _close(call, opened, error, has_begun=has_begun)
        else:
            await _settle(call, opened, usage, CallOutcome.COMPLETED)
        raise
    await _settle(call, opened, usage, CallOutcome.COMPLETED)


async def _begin(call: HostCall, model: ModelSpec, size: Size) -> OpenModelCall:
    facts = call.facts
    begun = CallFacts(
        spender=Spender(facts.workspace_id, facts.agent_pk or None, facts.person),
        model=model,
        run_id=facts.public_id,
        token=call.token,
        invocation=call.key.invocation,
        call=call.key.plugin_seq_id,
        estimate=size.estimate,
        most_output=size.most_output,
        seconds=float(limits().run_seconds_maximum),
    )
    try:
        return await _begun(call, begun)
    except QuotaExceededError as error:
        details = {
            "resets_at": error.resets_at.isoformat(),
            "window": error.window,
            "scope": error.scope,
        }
        code, text = ErrorCode.QUOTA_EXCEEDED, str(error)
        raise ProtocolError(code, text, details=details) from None


async def _begun(call: HostCall, facts: CallFacts) -> OpenModelCall:
    """Begin a call; one that is cancelled meanwhile holds no reserve."""
    task = asyncio.create_task(call.database(begin_call, facts))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        _go_on(_let_go(call, task))
        raise


async def _let_go(call: HostCall, begun: asyncio.Task[OpenModelCall]) -> None:
    with suppress(QuotaExceededError, *DATABASE_FAILURES):
        await call.database(release_call, await begun)


async def _close(
    call: HostCall, opened: OpenModelCall, error: BaseException, *, has_begun: bool
) -> None:
    """Settle a call that gave no whole answer."""
    if isinstance(error, ModelError):
        if not has_begun and error.code in _NOT_BILLED:
            await _surely(call.database(release_call, opened))
            return
        await _settle(call, opened, None, CallOutcome.FAILED)
    else:
        await _settle(call, opened, None, CallOutcome.CUT_OFF)


async def _settle(
    call: HostCall,
    opened: OpenModelCall,
    usage: dict[str, Any] | None,
    outcome: CallOutcome,
) -> None:
    settle = partial(settle_for_run, opened, call.facts.pk, usage, outcome)
    await _surely(call.database(settle))


async def _surely(work: Awaitable[Any]) -> None:
    """Wait for work that goes on when this call is cancelled.

    A provider's answer is not lost because the database is away: the sweep settles
    the call then, with an unknown cost.
    """

    async def do() -> None:
        try:
            await work
        except DATABASE_FAILURES:
            logger.exception("a model call is not recorded yet")

    await asyncio.shield(_go_on(do()))


def _go_on(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.create_task(work)
    _closing.add(task)
    task.add_done_callback(_closing.discard)
    return task
