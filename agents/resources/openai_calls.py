"""One request to a provider that speaks OpenAI's JSON, bounded and tried twice."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from agents.resources.openai_clients import client_pool
from agents.resources.openai_errors import timed_out, translated
from agents.resources.shapes import ModelSpec

T = TypeVar("T")
RETRY_SECONDS = 0.3


class Clock:
    """Bounds a whole call, and each wait in it."""

    def __init__(self, model: ModelSpec, total: float, gap: float) -> None:
        self._model, self._total, self._gap = model, total, gap
        self._end = asyncio.get_running_loop().time() + total

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """Await within what is left; raises ModelError."""
        left = self._end - asyncio.get_running_loop().time()
        limit = asyncio.timeout(max(0.0, min(left, self._gap)))
        try:
            async with limit:
                return await awaitable
        except TimeoutError:
            if not limit.expired():
                raise
            seconds = self._total if left < self._gap else self._gap
            raise timed_out(self._model, seconds) from None


async def post(
    model: ModelSpec, path: str, body: dict[str, Any], timeout: float | None = None
) -> Any:
    """Return the JSON that a provider answers; raises ModelError.

    `timeout` is in seconds; the provider's own limit holds as well.
    """
    total = min(model.timeout_seconds, timeout or model.timeout_seconds)
    clock = Clock(model, total, total)
    async with client_pool().lease(model) as client:

        async def ask() -> Any:
            options = request_options(model)
            return await client.post(path, cast_to=object, body=body, options=options)

        with translated(model):
            return await clock.wait(once_more(ask))


async def once_more(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again, once, when the provider was not there for a moment."""
    from openai import APIConnectionError, APITimeoutError, InternalServerError

    try:
        return await ask()
    except APITimeoutError:
        raise
    except (APIConnectionError, InternalServerError):
        await asyncio.sleep(RETRY_SECONDS)
    return await ask()


def request_options(model: ModelSpec) -> Any:
    """Return the request's options; without a key no authorization is sent."""
    from openai import Omit

    return {} if model.api_key else {"headers": {"Authorization": Omit()}}
