"""Our host's processes: all under one supervisor, or each on its own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from benchmarks.measure import Processes, descendants

_ROOT = Path(__file__).resolve().parents[1]
_START_SECONDS = 60
_STOP_SECONDS = 15
_SERVICE_VARIABLES = ("DATABASE_URL", "REDIS_URL")
# Marks in a command line that tell what a process is for, tried in this order.
_ROLES = (
    ("langbot.supervisor", "supervisor"),  # first: its options name the others
    ("runlangbot", "supervisor"),
    ("valkey", "redis"),
    ("langbot.worker", "worker"),
    ("runners.sdk", "plugins"),
    ("runplugins", "plugins"),
    ("langbot.server", "web"),
)
SERVICE = " service"  # ends the role of what is not one of our processes
# Services of the production deployment that run on this machine, by program.
_SERVICES = {
    "postgres": "database" + SERVICE,
    "redis-server": "redis" + SERVICE,
    "valkey-server": "redis" + SERVICE,
}


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a started host."""

    url: str
    api_token: str
    plugin_token: str


class Deployment(Protocol):
    """One way to run our host."""

    name: str

    def start(self) -> Access:
        """Start the processes; they may not be ready yet."""

    def stop(self) -> None:
        """Stop every process that `start` started."""

    def processes(self) -> Processes:
        """Return the process ids by role."""

    def output(self) -> str:
        """Return the last lines that the processes printed."""


class _Processes:
    """Our processes of one deployment, their data folder and their output."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="langbot-benchmark-"))
        self.port = _free_port()
        self._log = self.folder / "output.log"
        self._log.touch()
        self.environment = os.environ | {
            "LANGBOT_DATA_DIR": str(self.folder / "data"),
            "PORT": str(self.port),
            "LANGBOT_RATE_MESSAGES": "",  # one user sends more than any person does
        }
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *command: str) -> None:
        """Start a long-lived process."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=_ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started.append(process)

    def run(self, *command: str, variables: Mapping[str, str] | None = None) -> str:
        """Run a command to its end and return the last word it printed."""
        done = subprocess.run(
            [sys.executable, *command],
            check=True,
            cwd=_ROOT,
            env=self.environment | dict(variables or {}),
            stdout=subprocess.PIPE,
            text=True,
        )
        return (done.stdout.split() or [""])[-1]

    def stop(self) -> None:
        """Stop all processes in the reverse order, and remove their data."""
        for process in reversed(self._started):
            process.send_signal(signal.SIGTERM)
        for process in self._started:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def by_role(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for started in self._started:
            for process in descendants(started.pid):
                found.setdefault(_role(process), []).append(process.pid)
        return found

    def output(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-30:])


class Embedded:
    """`manage.py runlangbot`: SQLite, the bundled Valkey, one supervisor."""

    name = "embedded"

    def __init__(self) -> None:
        self._processes = _Processes()
        for service in _SERVICE_VARIABLES:
            self._processes.environment.pop(service, None)

    def start(self) -> Access:
        """Start the supervisor and read the tokens of the first run."""
        self._processes.start("manage.py", "runlangbot")
        found = self._first_run()
        return Access(self._processes.url, found["api_token"], found["plugin_token"])

    def _first_run(self) -> dict[str, str]:
        path = self._processes.folder / "data" / "first-run.json"
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if path.exists():
                return dict(json.loads(path.read_text()))
            time.sleep(0.1)
        raise TimeoutError(f"no first-run.json\n{self._processes.output()}")

    def stop(self) -> None:
        """Stop the supervisor, which stops the others."""
        self._processes.stop()

    def processes(self) -> Processes:
        """Return the supervisor and its children by role."""
        return self._processes.by_role()

    def output(self) -> str:
        """Return the last lines that the processes printed."""
        return self._processes.output()


class Production:
    """Separate processes on the services of DATABASE_URL and REDIS_URL.

    Uses that database as it is: its rows stay.
    """

    name = "production"

    def __init__(self) -> None:
        missing = [name for name in _SERVICE_VARIABLES if not os.environ.get(name)]
        if missing:
            raise LookupError(f"production needs {' and '.join(missing)}")
        self._processes = _Processes()
        # As the supervisor starts them, and `docs/operations.md` advises.
        self._processes.environment.setdefault("MALLOC_ARENA_MAX", "2")

    def start(self) -> Access:
        """Prepare the database and the tokens, start one web and one worker."""
        processes = self._processes
        processes.run("manage.py", "firstrun", "--migrate")
        user = f"benchmark-{time.time_ns()}"
        identity = {
            "DJANGO_SUPERUSER_USERNAME": user,
            "DJANGO_SUPERUSER_EMAIL": "benchmark@example.com",
            "DJANGO_SUPERUSER_PASSWORD": os.urandom(16).hex(),
        }
        processes.run("manage.py", "createsuperuser", "--noinput", variables=identity)
        api_token = processes.run("manage.py", "createapitoken", user)
        plugin_token = processes.run("manage.py", "createplugintoken", user)
        for command in self._commands():
            processes.start(*command)
        return Access(processes.url, api_token, plugin_token)

    def _commands(self) -> Sequence[Sequence[str]]:
        web = f"-m langbot.server --port {self._processes.port}"
        # As the supervisor starts it, so that the deployments can be compared.
        worker = "-m langbot.worker"
        return web.split(), worker.split()

    def stop(self) -> None:
        """Stop our processes; the services stay."""
        self._processes.stop()

    def processes(self) -> Processes:
        """Return our processes, and those of services on this machine, by role."""
        return {**_local_services(), **self._processes.by_role()}

    def output(self) -> str:
        """Return the last lines that the processes printed."""
        return self._processes.output()


def _role(process: psutil.Process) -> str:
    try:
        command = " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return "other"
    return next((role for mark, role in _ROLES if mark in command), "other")


def _local_services() -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for process in psutil.process_iter(["name"]):
        role = _SERVICES.get(process.info["name"] or "")
        if role:
            found.setdefault(role, []).append(process.pid)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


DEPLOYMENTS: Mapping[str, type[Embedded] | type[Production]] = {
    "embedded": Embedded,
    "production": Production,
}
