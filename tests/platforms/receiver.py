"""A real HTTP server that receives deliveries, and rows to deliver."""

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from langbot.core.models import Workspace
from platforms.models import Bot
from runners.models import Conversation, Delivery
from tests.factories import BotFactory

SECRET = "a secret of the tests"
Answer = Callable[[dict[str, Any]], int]


class Receiver:
    """Keeps every call in `calls`; `answer` decides on the status, 0 hangs up."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.answer: Answer = answer or (lambda call: 200)
        self.delay_seconds = 0.0
        self.arrived = threading.Event()
        self.release = threading.Event()
        self.release.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/replies"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()

    def texts(self) -> list[str]:
        return [call["body"]["text"] for call in self.calls]

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.02)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                call = {
                    "headers": {
                        key.lower(): value for key, value in self.headers.items()
                    },
                    "raw": raw,
                    "body": json.loads(raw),
                }
                receiver.calls.append(call)
                receiver.arrived.set()
                receiver.release.wait(30)
                time.sleep(receiver.delay_seconds)
                status = receiver.answer(call)
                if status:
                    self.send_response(status)
                    self.send_header("content-length", "0")
                    self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


def webhook_bot(url: str, **more: Any) -> Bot:
    """Return an enabled webhook bot that posts its replies to `url`."""
    return BotFactory.create(
        adapter="webhook", config={"url": url}, secrets={"secret": SECRET}, **more
    )


def delivery(
    bot: Bot, text: str = "hi", target: str = "room|", **more: Any
) -> Delivery:
    """Return a pending delivery of the bot."""
    return Delivery.objects.create(
        workspace=bot.workspace,
        conversation=conversation(bot.workspace, target),
        bot_id=bot.public_id,
        target=target,
        payload={"text": text, "conversation": target},
        next_attempt_at=datetime.now(UTC),
        **more,
    )


def conversation(workspace: Workspace, key: str) -> Conversation:
    """Return the conversation of that key."""
    return Conversation.objects.get_or_create(workspace=workspace, key=key)[0]
