"""A client of `/ws/runs/<id>/` over a real connection to a web process."""

import asyncio
import json
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect

SECONDS = 30.0


class RunSocket:
    """An async context manager; frames come as dicts, events as SSE has them."""

    def __init__(self, url: str, run_id: str, token: str, **auth: Any) -> None:
        address = f"{url.replace('http', 'ws', 1)}/ws/runs/{run_id}/"
        self._connecting = connect(address, max_size=16 * 1024 * 1024)
        self._auth = {"type": "auth", "token": token, **auth}
        self.socket: ClientConnection

    async def __aenter__(self) -> Self:
        self.socket = await self._connecting.__aenter__()
        await self.send(**self._auth)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.socket.close()

    async def send(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def frame(self, *kinds: str) -> dict[str, Any]:
        """Return the next frame; with kinds, the next of one of those."""
        async with asyncio.timeout(SECONDS):
            while True:
                frame = json.loads(await self.socket.recv())
                if not kinds or frame["type"] in kinds:
                    return dict(frame)

    async def events(self) -> list[dict[str, Any]]:
        """Return the events up to the one frame that says the run is complete."""
        found: list[dict[str, Any]] = []
        while (frame := await self.frame("agent_event", "session_complete"))[
            "type"
        ] == "agent_event":
            found.append(frame)
        return found
