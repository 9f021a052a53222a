"""A client of the chat socket, and runs that are played instead of executed."""

import contextlib
import json

from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator

from platforms.routing import websocket_urlpatterns
from runners.models import AgentRun
from tests.platforms.played_run import PlayedRun


class Page:
    """A client of the chat socket."""

    def __init__(self, slug="web"):
        app = URLRouter(websocket_urlpatterns)
        self.socket = WebsocketCommunicator(app, f"/ws/chat/{slug}/")
        self.token = ""

    async def send(self, **frame):
        await self.socket.send_to(text_data=json.dumps(frame))

    async def frame(self, kind=None):
        """Return the next frame; with a kind, the next of that kind."""
        while True:
            frame = json.loads(await self.socket.receive_from(timeout=10))
            if kind in (None, frame["type"]):
                return frame

    async def auth(self, token="", **more):
        await self.send(type="auth", token=token, **more)
        self.token = (await self.frame("auth_ok"))["token"]
        return await self.frame("history")

    async def say(self, text, key):
        await self.send(type="message", text=text, client_key=key)
        return await self.frame("accepted")

    async def events_until_end(self):
        events = []
        while True:
            frame = await self.frame()
            if frame["type"] == "agent_event":
                events.append(frame)
            elif frame["type"] == "session_complete":
                return events, frame


@contextlib.asynccontextmanager
async def opened(slug="web"):
    page = Page(slug)
    connected, _ = await page.socket.connect(timeout=10)
    assert connected
    try:
        yield page
    finally:
        await page.socket.disconnect(timeout=10)


def play(run_id):
    return PlayedRun(AgentRun.objects.get(public_id=run_id))


def finish(run_id, text):
    run = play(run_id)
    run.say(text)
    run.complete()


def text_of(events):
    deltas = (one for one in events if one["event_type"] == "message.delta")
    return "".join(one["data"]["text"] for one in deltas)
