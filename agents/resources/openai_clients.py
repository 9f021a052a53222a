"""One client per provider and event loop, made late and closed when it is outdated.

Importing openai takes 1.3 s and loading the certificates 0.1 s, so both happen in a
thread at the first call, while the loop goes on with its other runs.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from agents.resources.openai_errors import check_provider
from agents.resources.shapes import ModelSpec
from langbot.lib.http import guarded_async_client

if TYPE_CHECKING:
    from openai import AsyncOpenAI

IDLE_SECONDS = 600.0


@dataclass(slots=True)
class _Entry:
    client: "AsyncOpenAI"
    version: tuple[str, str] = field(repr=False)
    users: int = 0
    used_at: float = 0.0
    is_outdated: bool = False


class ClientPool:
    """The clients of one event loop."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def lease(self, model: ModelSpec) -> AsyncIterator["AsyncOpenAI"]:
        """Lend the provider's client; an outdated one closes with its last user."""
        check_provider(model)
        async with self._lock:
            await self._close_idle()
            entry = await self._current(model)
            entry.users += 1
        try:
            yield entry.client
        finally:
            entry.users -= 1
            entry.used_at = time.monotonic()
            if entry.is_outdated and not entry.users:
                await entry.client.close()

    async def close(self) -> None:
        """Close every client, also the ones in use."""
        entries, self._entries = self._entries, {}
        for entry in entries.values():
            await entry.client.close()

    async def _current(self, model: ModelSpec) -> _Entry:
        version = (model.address, model.api_key or "")
        entry = self._entries.get(model.provider_id)
        if entry is not None and entry.version == version:
            return entry
        client = await asyncio.to_thread(_new_client, model)
        if entry is not None:
            await self._retire(entry)
        entry = self._entries[model.provider_id] = _Entry(client, version)
        return entry

    async def _close_idle(self) -> None:
        before = time.monotonic() - IDLE_SECONDS
        idle = [
            key
            for key, entry in self._entries.items()
            if not entry.users and entry.used_at < before
        ]
        for key in idle:
            await self._retire(self._entries.pop(key))

    async def _retire(self, entry: _Entry) -> None:
        entry.is_outdated = True
        if not entry.users:
            await entry.client.close()


_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, ClientPool] = WeakKeyDictionary()


def client_pool() -> ClientPool:
    """Return the running loop's pool."""
    return _pools.setdefault(asyncio.get_running_loop(), ClientPool())


async def close_clients() -> None:
    """Close the running loop's clients; call it before the loop ends."""
    pool = _pools.pop(asyncio.get_running_loop(), None)
    if pool is not None:
        await pool.close()


def _new_client(model: ModelSpec) -> "AsyncOpenAI":
    from openai import AsyncOpenAI

    logging.getLogger("openai").setLevel(logging.INFO)
    client = AsyncOpenAI(
        # Never None: the SDK would take the operator's own key or address from the
        # environment and send it to whatever provider this is.
        api_key=model.api_key or "",
        admin_api_key="",
        base_url=model.address,
        http_client=guarded_async_client(timeout=model.timeout_seconds),
        max_retries=0,
    )
    client.organization = client.project = None
    return client
