"""Starts every process of the embedded deployment and keeps them running.

`manage.py runlangbot` becomes this process by exec, so Django is never loaded here and
the whole of it is the standard library. Children die with it, even when it is killed.
"""

import argparse
import contextlib
import fcntl
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from langbot import valkey
from langbot.lib.log_files import DailyFile

STOP_SECONDS = 10.0  # web and worker drain for 10 s at most
STABLE_SECONDS = 30.0  # a child that lived this long was a good one
RETRY_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0)
TICK_SECONDS = 0.25
LINE_BYTES = 64 * 1024
BACKLOG = 1024
# In a container this is normal; on a server the unit file names a user.
CELERY_AS_ROOT = "ignore:You're running the worker with superuser privileges"
# All that a plugin process is told: it reaches the host by its socket only.
PLUGIN_VARIABLES = {
    *("PATH", "HOME", "TMPDIR", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "MALLOC_ARENA_MAX"),
    *("LANGBOT_RUNNERS", "LOG_LEVEL", "LOG_JSON", "PORT", "DEBUG_RUNTIME_WS_URL"),
    *("RUNTIME_WS_URL", "PLUGIN_DEBUG_KEY", "PLUGIN_DEBUG_KEY_FILE"),
}
PLUGIN_PREFIXES = ("LC_", "PYTHON", "SSL_CERT_")


class SupervisorError(RuntimeError):
    """Why nothing was started; for the person at the terminal."""


@dataclass
class Options:
    """What `manage.py runlangbot` found in the settings."""

    data_dir: Path
    host: str
    port: int
    bundled_valkey: bool
    manage: Path

    @property
    def local_url(self) -> str:
        """Where processes of this machine reach the web: `host:port`."""
        wildcards = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104
        host = wildcards.get(self.host, self.host)
        return f"{f'[{host}]' if ':' in host and host[0] != '[' else host}:{self.port}"


@dataclass
class Child:
    """A process that is started again when it ends."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(repr=False)
    inherits: tuple[int, ...] = ()
    log: DailyFile | None = None
    needed: Path | None = None  # it runs while this file is there
    process: subprocess.Popen[bytes] | None = None
    pending: bytes = b""
    failures: int = 0
    started_at: float = 0.0
    start_after: float = 0.0

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> IO[bytes]:
        """Start it in a session of its own; returns the pipe of its output."""
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603 - our own command lines
            self.command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=self.inherits,
            start_new_session=True,  # Ctrl-C reaches us only; we stop it in order
            preexec_fn=valkey.dies_with_parent(),  # noqa: PLW1509 - no threads here
        )
        assert self.process.stdout is not None  # noqa: S101 - a pipe was asked for
        return self.process.stdout

    def schedule_restart(self) -> float:
        """Note that it ended; returns the seconds until it starts again."""
        if time.monotonic() - self.started_at >= STABLE_SECONDS:
            self.failures = 0
        wait = RETRY_SECONDS[min(self.failures, len(RETRY_SECONDS) - 1)]
        self.failures += 1
        self.start_after = time.monotonic() + wait
        return wait

    @property
    def is_needed(self) -> bool:
        return self.needed is None or self.needed.exists()

    def send(self, signal_number: int) -> None:
        if self.process is not None and self.is_running:
            self.process.send_signal(signal_number)


class Supervisor:
    """Runs children until told to stop. One thread, no event loop."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.run_dir = options.data_dir / "run"
        self.children: list[Child] = []
        self.selector = selectors.DefaultSelector()
        self.stopping = False
        self.socket_folder: Path | None = None
        self.listener: socket.socket | None = None

    def run(self) -> int:
        """Start everything, supervise, stop everything; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._request_stop)
        with self._locked():
            self.listener = self._listen()
            self.options.port = self.listener.getsockname()[1]  # PORT=0: any free one
            try:
                url = f"http://{self.options.local_url}"
                self._web_file.write_text(url, encoding="utf-8")
                self._say(f"starts on {url}, data in {self.options.data_dir}")
                environment = self._start_transport()
                self.prepare_database(environment)
                self.add_processes(environment)
                while not self.stopping:
                    self._start_due()
                    self._relay(TICK_SECONDS)
                return 0
            finally:
                self._stop_all()

    def _request_stop(self, *_: object) -> None:
        self.stopping = True

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.run_dir.mkdir(parents=True, exist_ok=True)
        with (self.run_dir / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                message = (
                    f"another runlangbot uses the data folder {self.run_dir.parent}"
                )
                raise SupervisorError(message) from None
            yield

    def _listen(self) -> socket.socket:
        """Bind the web's port here: a request waits while the web starts again."""
        address = (self.options.host, self.options.port)
        try:
            found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
            listener = socket.socket(found[0])
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(found[4])
            listener.listen(BACKLOG)
        except OSError as error:
            message = (
                f"cannot listen on {address[0]} port {address[1]}: {error.strerror}. "
                "Set another PORT."
            )
            raise SupervisorError(message) from None
        return listener

    def _start_transport(self) -> dict[str, str]:
        """Start Valkey when it is ours; returns the environment of the others."""
        # Two arenas: glibc's default of 8 per core costs each process tens of MB.
        environment = {"MALLOC_ARENA_MAX": "2", **os.environ, "PYTHONUNBUFFERED": "1"}
        environment["PORT"] = str(self.options.port)
        environment.setdefault("PYTHONWARNINGS", CELERY_AS_ROOT)
        self._remove_leftovers()
        if not self.options.bundled_valkey:
            return environment
        self.socket_folder = valkey.socket_folder()
        path = self.socket_folder / valkey.SOCKET_NAME
        self.children.append(Child("valkey", valkey.command(path), environment))
        deadline = time.monotonic() + valkey.START_SECONDS
        self._start_due()
        while not valkey.answers(path):
            self._relay(0.01)
            if time.monotonic() > deadline:
                message = "the bundled Valkey did not start"
                raise SupervisorError(message)
        url = valkey.url(path)
        self._url_file.write_text(url, encoding="utf-8")
        return {**environment, "REDIS_URL": url}

    @property
    def _url_file(self) -> Path:
        return self.run_dir / "redis.url"

    @property
    def _web_file(self) -> Path:
        return self.run_dir / "web.url"

    def _remove_leftovers(self) -> None:
        """Remove what a killed predecessor left: it held the lock that we hold now."""
        if not self._url_file.exists():
            return
        url = self._url_file.read_text(encoding="utf-8").strip()
        folder = Path(url.removeprefix("unix://").partition("?")[0]).parent
        if folder.name.startswith(valkey.FOLDER_PREFIX):
            shutil.rmtree(folder, ignore_errors=True)
        self._url_file.unlink()

    def prepare_database(self, environment: dict[str, str]) -> None:
        """Migrate and create the first-run content in one short-lived process."""
        command = [sys.executable, str(self.options.manage), "firstrun", "--migrate"]
        child = Child("langbot", command, environment)
        self.children.append(child)
        self._watch(child)
        while child.is_running and not self.stopping:
            self._relay(TICK_SECONDS)
        self._relay(0)
        if child.process is not None and child.process.poll():
            message = "the database could not be prepared, see above"
            raise SupervisorError(message)
        if not self.stopping:
            self.children.remove(child)

    def add_processes(self, environment: dict[str, str]) -> None:
        if self.stopping or self.listener is None:
            return
        options, python = self.options, sys.executable
        port = self.listener.fileno()
        web = [python, "-m", "langbot.server", "--fd", str(port)]
        plugins = {
            **plugin_environment(environment),
            "DEBUG_RUNTIME_WS_URL": f"ws://{options.local_url}/ws/plugin/",
            "PLUGIN_DEBUG_KEY_FILE": str(options.data_dir / "plugin.key"),
        }
        # It writes no file of its own: what a runner says or raises is kept here.
        log = DailyFile(options.data_dir / "logs", "plugins")
        packages = [python, str(options.manage), "runpackages", "--while-needed"]
        packages += ["--url", plugins["DEBUG_RUNTIME_WS_URL"]]
        needed = options.data_dir / "packages" / "needed"
        self.children += [
            Child("web", web, environment, inherits=(port,)),
            Child("worker", [python, "-m", "langbot.worker"], environment),
            Child("plugins", [python, "-m", "runners.sdk"], plugins, log=log),
            Child("packages", packages, environment, needed=needed),
        ]

    def _start_due(self) -> None:
        for child in self.children:
            if child.is_running:
                continue
            if not child.is_needed:
                child.process = None  # it ended because there was nothing to do
                continue
            if child.process is not None and not child.start_after:
                code = child.process.returncode
                wait = child.schedule_restart()
                self._say(f"{child.name} ended ({code}), starts again in {wait:g} s")
            if time.monotonic() >= child.start_after:
                child.start_after = 0.0
                self._watch(child)

    def _watch(self, child: Child) -> None:
        pipe = child.start()
        os.set_blocking(pipe.fileno(), False)
        self.selector.register(pipe, selectors.EVENT_READ, child)

    def _relay(self, seconds: float) -> None:
        """Copy what children wrote, each line under its child's name."""
        for key, _ in self.selector.select(seconds):
            child: Child = key.data
            data = os.read(key.fd, LINE_BYTES)
            *lines, child.pending = (child.pending + data).split(b"\n")
            if not data or len(child.pending) > LINE_BYTES:
                lines, child.pending = [*lines, child.pending], b""
            for line in filter(None, lines):
                _write(child, line)
            if not data:
                pipe = key.fileobj
                self.selector.unregister(pipe)
                pipe.close()  # type: ignore[union-attr]  # only pipes are registered

    def _stop_all(self) -> None:
        """TERM, then KILL after 10 s; Valkey last, for it carries the others' words."""
        if self.listener is not None:
            self.listener.close()
        self._web_file.unlink(missing_ok=True)
        transport = [child for child in self.children if child.name == "valkey"]
        others = [child for child in self.children if child.name != "valkey"]
        self._stop(others, STOP_SECONDS)
        self._stop(transport, valkey.STOP_SECONDS)
        if self.socket_folder is not None:
            shutil.rmtree(self.socket_folder, ignore_errors=True)
            self._url_file.unlink(missing_ok=True)

    def _stop(self, children: list[Child], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for child in children:
            child.send(signal.SIGTERM)
        while any(child.is_running for child in children):
            self._relay(0.05)
            if time.monotonic() > deadline:
                for child in children:
                    child.send(signal.SIGKILL)
        self._relay(0)

    def _say(self, text: str) -> None:
        _print("supervisor", text.encode())


def plugin_environment(environment: dict[str, str]) -> dict[str, str]:
    """Return what a plugin process may know: an allow list, names in any case."""
    return {
        name: value
        for name, value in environment.items()
        if name.upper() in PLUGIN_VARIABLES or name.startswith(PLUGIN_PREFIXES)
    }


def _write(child: Child, line: bytes) -> None:
    _print(child.name, line)
    if child.log is not None:
        with contextlib.suppress(OSError):  # a full disk stops no process
            child.log.write(line + b"\n")


def _print(name: str, line: bytes) -> None:
    # A terminal that went away must not take the processes with it.
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), f"{name:<10} ".encode() + line + b"\n")


def main(
    argv: Sequence[str] | None = None, supervisor: type[Supervisor] = Supervisor
) -> int:
    """Run the supervisor; returns 1 when it could not start."""
    parser = argparse.ArgumentParser(prog="python -m langbot.supervisor")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--manage", type=Path, default=Path("manage.py"))
    parser.add_argument("--bundled-valkey", action="store_true")
    options = Options(**vars(parser.parse_args(argv)))
    os.umask(0o077)  # the data folder holds people's words and the keys
    try:
        return supervisor(options).run()
    except (SupervisorError, valkey.ValkeyError) as error:
        print(f"runlangbot: {error}", file=sys.stderr)  # noqa: T201 - a command's answer
        return 1


if __name__ == "__main__":
    sys.exit(main())
