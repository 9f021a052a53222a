"""A real SMTP server that keeps what it takes."""

import email.policy
import socketserver
import threading
from email import message_from_bytes
from email.message import EmailMessage
from typing import Any


class MailServer:
    """Takes mails on a port of its own; `refusal` and `hang_up` make it fail.

    `refusal` is the reply to the mail's text in place of 250, such as `550 no`; with
    `hang_up` the connection ends after the whole text was read, without a reply.
    """

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refusal = ""
        self.hang_up = False
        self._lock = threading.Lock()
        self._server = socketserver.ThreadingTCPServer(
            ("127.0.0.1", 0), self._handler()
        )
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def to(self, address: str) -> list[EmailMessage]:
        """Return the mails to an address."""
        return [mail for mail in self.mails if mail["To"] == address]

    def keep(self, raw: bytes) -> None:
        mail: Any = message_from_bytes(raw, policy=email.policy.default)
        with self._lock:
            self.mails.append(mail)

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        return type("Handler", (_Session,), {"server_of_tests": self})


class _Session(socketserver.StreamRequestHandler):
    """One connection of a client."""

    server_of_tests: MailServer

    def handle(self) -> None:
        self._say("220 mail.test")
        for line in self.rfile:
            if not self._answer(line.strip().upper()):
                return

    def _answer(self, command: bytes) -> bool:
        if command.startswith(b"QUIT"):
            self._say("221 bye")
            return False
        if command == b"DATA":
            self._say("354 go on")
            return self._take()
        self._say("250 ok")
        return True

    def _take(self) -> bool:
        raw = b"".join(iter(self.rfile.readline, b".\r\n"))
        if self.server_of_tests.hang_up:
            return False
        if self.server_of_tests.refusal:
            self._say(self.server_of_tests.refusal)
            return True
        self.server_of_tests.keep(raw)
        self._say("250 taken")
        return True

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())
