"""Host processes for tests that kill them: several webs, workers and plugins.

They work on the test's own database and Redis. Only processes started here are ever
signalled, and by their id.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from agents.choices import ConnectionStatus
from agents.models import PluginConnection
from agents.registry.tokens import create_plugin_token
from langbot.valkey import dies_with_parent
from runners.models import WorkerNode
from tests.support import sdk_runners

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 12.0
_WORKER = "-m langbot.worker"


class HostProcess:
    """One process of the host, started at once, with its output in a file."""

    def __init__(
        self, name: str, words: list[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, *words],
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=dies_with_parent(),  # noqa: PLW1509 - main thread of a test
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """End it with SIGKILL and wait."""
        self._process.kill()
        self._process.wait()

    def suspend(self) -> Self:
        """Have it do nothing until `resume`, as on a machine that sleeps."""
        self._process.send_signal(signal.SIGSTOP)
        return self

    def resume(self) -> None:
        """Have it go on where it was."""
        self._process.send_signal(signal.SIGCONT)

    def terminate(self) -> float:
        """Send SIGTERM; returns the seconds until it ended, kills it after 12."""
        begun = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        return time.monotonic() - begun


class Cluster:
    """Webs, workers and plugin processes; a context manager that ends them all."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        _, self._token = create_plugin_token("tests", plugins=[sdk_runners.PLUGIN])
        self._folder = tempfile.TemporaryDirectory(prefix="langbot-cluster-")
        self.webs: list[HostProcess] = []
        self.workers: list[HostProcess] = []
        self.plugins: list[HostProcess] = []
        self.ports: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.everything:
            if process.is_running:
                os.kill(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in self.everything:
            while process.is_running and time.monotonic() < deadline:
                time.sleep(0.05)
            if process.is_running:
                process.kill()
        self._folder.cleanup()

    @property
    def everything(self) -> list[HostProcess]:
        """All processes, the ended ones too; plugins first."""
        return [*self.plugins, *self.workers, *self.webs]

    def start(self, *, webs: int = 2, workers: int = 2, plugins: int = 5) -> None:
        """Start so many of each and wait until all are ready; plugins take turns."""
        for _ in range(webs):
            self.start_web()
        for _ in range(workers):
            self.start_worker()
        wait_until(lambda: all(map(listens, self.ports)), "webs listen")
        for number in range(plugins):
            self.start_plugin(number % webs)
        self.wait_ready(workers=workers, plugins=plugins)

    def wait_ready(self, *, workers: int, plugins: int) -> None:
        """Wait until so many workers and plugin connections are there."""
        try:
            wait_until(lambda: _workers() >= workers, f"{workers} workers")
            wait_until(lambda: _connections() >= plugins, f"{plugins} plugins")
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.output()}") from None

    def start_web(self) -> HostProcess:
        port = free_port()
        self.ports.append(port)
        words = ["-m", "langbot.server", "--host", "127.0.0.1", "--port", str(port)]
        web = self._start("web", words, {})
        self.webs.append(web)
        return web

    def start_worker(self) -> HostProcess:
        worker = self._start("worker", _WORKER.split(), {})
        self.workers.append(worker)
        return worker

    def start_plugin(self, web: int = 0) -> HostProcess:
        """Start one plugin process that connects to the numbered web."""
        variables = {
            "DEBUG_RUNTIME_WS_URL": f"ws://127.0.0.1:{self.ports[web]}/ws/plugin/",
            "PLUGIN_DEBUG_KEY": self._token,
            "LANGBOT_RUNNERS": ",".join(sdk_runners.PATHS),
        }
        words = ["-m", "runners.sdk", "--only", sdk_runners.PLUGIN]
        plugin = self._start("plugin", words, variables)
        self.plugins.append(plugin)
        return plugin

    def url(self, web: int = 0) -> str:
        return f"http://127.0.0.1:{self.ports[web]}"

    def output(self) -> str:
        """Return the last lines of every process, for a failing test."""
        parts = []
        for process in self.everything:
            lines = process.log.read_text(errors="replace").splitlines()
            parts.append(f"== {process.log.stem}\n" + "\n".join(lines[-15:]))
        return "\n".join(parts)

    def _start(
        self, name: str, words: list[str], variables: Mapping[str, str]
    ) -> HostProcess:
        log = Path(self._folder.name, f"{name}-{len(self.everything)}.log")
        return HostProcess(name, words, self._environment | dict(variables), log)


def _workers() -> int:
    return WorkerNode.objects.filter(stopped_at=None).count()


def _connections() -> int:
    return PluginConnection.objects.filter(status=ConnectionStatus.ONLINE).count()


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Say whether something accepts connections on the port."""
    with socket.socket() as client, suppress(OSError):
        client.settimeout(0.5)
        client.connect(("127.0.0.1", port))
        return True
    return False


def wait_until(
    check: Callable[[], object], what: str, seconds: float = START_SECONDS
) -> float:
    """Poll until `check()` is true and return the seconds; raises TimeoutError."""
    begun = time.monotonic()
    while not check():
        if time.monotonic() - begun > seconds:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)
    return time.monotonic() - begun
