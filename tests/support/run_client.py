"""A client of `/ws/runs/<id>/` against the consumer itself, in this process."""

import json
from contextlib import asynccontextmanager
from typing import Any

from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator

from langbot.routing import websocket_urlpatterns

SECONDS = 30


class RunClient:
    """One socket; frames come as dicts."""

    def __init__(self, run_id: Any) -> None:
        app = URLRouter(websocket_urlpatterns)
        self.socket = WebsocketCommunicator(app, f"/ws/runs/{run_id}/")

    async def send(self, **frame: Any) -> None:
        await self.socket.send_to(text_data=json.dumps(frame))

    async def frame(self, kind: str | None = None) -> dict[str, Any]:
        """Return the next frame; with a kind, the next of that kind."""
        while True:
            frame = json.loads(await self.socket.receive_from(timeout=SECONDS))
            if kind in (None, frame["type"]):
                return dict(frame)

    async def auth(self, token: str, **more: Any) -> dict[str, Any]:
        await self.send(type="auth", token=token, **more)
        return await self.frame()

    async def closed(self) -> int:
        """Return the code with which the host closed the socket."""
        message = await self.socket.receive_output(timeout=SECONDS)
        assert message["type"] == "websocket.close", message
        return int(message["code"])

    async def until_end(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return all events and the frame that says the run is complete."""
        events = []
        while True:
            frame = await self.frame()
            if frame["type"] == "agent_event":
                events.append(frame)
            elif frame["type"] == "session_complete":
                return events, frame


@asynccontextmanager
async def run_client(run_id: Any):
    client = RunClient(run_id)
    connected, _ = await client.socket.connect(timeout=SECONDS)
    assert connected
    try:
        yield client
    finally:
        await client.socket.disconnect(timeout=SECONDS)


def as_document(frame: dict[str, Any]) -> dict[str, Any]:
    """Return an event's frame as SSE has it."""
    names = {"run_id", "seq", "data", "created_at"}
    return {"type": frame["event_type"], **{name: frame[name] for name in names}}
