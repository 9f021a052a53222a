"""The real host for tests: web, workers and plugins as processes, on their own data."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2
import pytest

from tests.support.inside import Inside
from tests.support.own_services import own_services
from tests.support.processes import ProcessGroup

T = TypeVar("T")

READY_SECONDS = 60.0
TERMINAL = frozenset({"completed", "failed", "cancelled", "timeout"})
# As the supervisor starts it.
WORKER = "-m langbot.worker"
_POLL_SECONDS = 0.02
_PAGE = 200
_TROUBLE = re.compile(r"Traceback \(most recent call last\)|was never retrieved")


class RunningHost:
    """A host for as long as a `with` block lasts, safe to use from several threads.

    Runs on SQLite and the bundled Valkey, or on a database of its own in DATABASE_URL's
    server and REDIS_URL; `variables` come on top. `processes` has `web`, `worker-1`…
    and `plugins`.
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        plugins: bool = True,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.socket_url = f"ws://127.0.0.1:{self.port}/ws/plugin/"
        self._workers = workers
        self._plugins = plugins
        self._variables = dict(variables or {})
        self._checked: dict[str, int] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack) -> None:
        folder = Path(tempfile.mkdtemp(prefix="langbot-host-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        data_dir = folder / "data"
        services = stack.enter_context(own_services(data_dir))
        own = {**services, **self._variables, "PORT": str(self.port)}
        environment = {**os.environ, **own}
        self.processes = ProcessGroup(folder, environment)
        stack.callback(self.processes.end_all)
        self._inside = Inside(environment)
        stack.callback(self._inside.close)
        self.processes.run("manage.py", "firstrun", "--migrate")
        self.secrets = json.loads((data_dir / "first-run.json").read_text())
        self.client = httpx2.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.secrets['api_token']}"},
            timeout=30,
        )
        stack.callback(self.client.close)
        self.start_web()
        for number in range(1, self._workers + 1):
            self.start_worker(f"worker-{number}")
        if self._plugins:
            self.start_plugins((data_dir / "plugin.key").read_text().strip())
        self.wait_for(self._is_ready, "ready", READY_SECONDS)

    # Processes

    def start_web(self) -> None:
        """Start the web process; also again, after it ended."""
        self.processes.start("web", *f"-m langbot.server --port {self.port}".split())

    def start_worker(self, name: str) -> None:
        """Start a worker; also again, after it ended."""
        self.processes.start(name, *WORKER.split())

    def start_plugins(self, token: str) -> None:
        """Start the process with the runners that ship."""
        variables = {"DEBUG_RUNTIME_WS_URL": self.socket_url, "PLUGIN_DEBUG_KEY": token}
        self.processes.start("plugins", "-m", "runners.sdk", variables=variables)

    def kill(self, name: str) -> None:
        """End a process with SIGKILL, as a crash does."""
        self.processes.end(name, number=signal.SIGKILL)

    def _is_ready(self) -> bool:
        assert not self.processes.dead(), self.output()
        try:
            answer = self.client.get("/readyz", params={"full": "1"})
        except httpx2.TransportError:
            return False
        checks = answer.json()
        needed = {"database", "migrations", "redis", "workers"}
        needed |= {"plugins"} if self._plugins else set()
        return all(checks[name] == "ok" for name in needed)

    # What tests ask for

    def inside(self, function: Callable[..., Any], **arguments: Any) -> Any:
        """Call a module-level function in a process that uses this host's database."""
        return self._inside.call(function, **arguments)

    def api(self, method: str, path: str, **options: Any) -> Any:
        """Call the REST API; `path` is relative to `/api/v1/`. Fails unless 2xx."""
        answer = self.client.request(method, f"/api/v1/{path}", **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def make_agent(
        self,
        slug: str,
        runner: str,
        config: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """Create an agent or replace it; returns what the API says of it."""
        given = {"slug": slug, "name": slug, "runner": runner, **more}
        body = {**given, "runner_config": dict(config or {})}
        return dict(self.api("PUT", f"agents/by-slug/{slug}/", json=body))

    def send(self, text: str, agent: str = "echo") -> str:
        """Send an agent a message in a new conversation; returns the run's id."""
        (found,) = self.api("GET", "agents/", params={"slug": agent})["results"]
        answer = self.api("POST", f"agents/{found['id']}/test/", json={"text": text})
        return str(answer["run_id"])

    def run_of(self, run_id: str) -> dict[str, Any]:
        """Return the run as it is now."""
        return dict(self.api("GET", f"runs/{run_id}/"))

    def wait_run(
        self, run_id: str, *statuses: str, timeout_seconds: float = 30.0
    ) -> dict[str, Any]:
        """Return the run once it has one of `statuses`, by default once it ended."""
        wanted = set(statuses) or TERMINAL

        def reached() -> dict[str, Any] | None:
            run = self.run_of(run_id)
            if run["status"] in wanted:
                return run
            assert run["status"] not in TERMINAL, f"run is {run['status']}: {run}"
            return None

        return self.wait_for(reached, f"run {run_id} {wanted}", timeout_seconds)

    def ask(self, text: str, agent: str = "echo") -> dict[str, Any]:
        """Send a message and return the run once it ended."""
        return self.wait_run(self.send(text, agent))

    def cancel(self, run_id: str) -> None:
        """Ask for the run to be cancelled."""
        self.api("POST", f"runs/{run_id}/cancel/", json={})

    def events(self, run_id: str, *types: str) -> list[dict[str, Any]]:
        """Return the run's ledger in order, all of it or these types only."""
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["seq"] if found else 0
            parameters = {"after": after, "limit": _PAGE}
            page = self.api("GET", f"runs/{run_id}/events/", params=parameters)
            found += page["results"]
            if len(page["results"]) < _PAGE:
                return [one for one in found if not types or one["type"] in types]

    def reply(self, run_id: str) -> str:
        """Return the text of the run's last `message.completed`."""
        return str(self.events(run_id, "message.completed")[-1]["data"]["text"])

    def runner(self, runner_id: str) -> dict[str, Any] | None:
        """Return a runner of the catalogue, or None."""
        listed = self.api("GET", "runners/", params={"limit": _PAGE})["results"]
        return next((one for one in listed if one["id"] == runner_id), None)

    def wait_runner(self, runner_id: str, *, online: bool = True) -> dict[str, Any]:
        """Return the runner once it is listed and online, or offline."""

        def found() -> dict[str, Any] | None:
            runner = self.runner(runner_id)
            return runner if runner and runner["online"] is online else None

        return self.wait_for(found, f"{runner_id} online={online}")

    def plugin_token(
        self, label: str = "test", plugins: tuple[str, ...] = ("*",), **more: Any
    ) -> str:
        """Make a plugin token of the workspace `default`."""
        from tests.support.host_rows import make_plugin_token

        return str(self.inside(make_plugin_token, label=label, plugins=plugins, **more))

    def wait_for(
        self, check: Callable[[], T | None], what: str, timeout_seconds: float = 30.0
    ) -> T:
        """Return the first true answer of `check`; fails with the host's output."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            answer = check()
            if answer:
                return answer
            if time.monotonic() > deadline:
                message = f"not within {timeout_seconds} s: {what}\n{self.output()}"
                raise AssertionError(message)
            time.sleep(_POLL_SECONDS)

    # Logs

    def output(self) -> str:
        """Return the last lines of every log."""
        logs = self.processes.logs().items()
        return "\n".join(f"--- {name}\n{text[-3000:]}" for name, text in logs)

    def assert_no_tracebacks(self) -> None:
        """Fail when a log has one that an earlier call has not told already."""
        for name, text in self.processes.logs().items():
            fresh, self._checked[name] = text[self._checked.get(name, 0) :], len(text)
            found = _TROUBLE.search(fresh)
            assert found is None, (
                f"{name}:\n{fresh[max(0, found.start() - 500) :][:4000]}"
            )


async def aside(function: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Call a blocking method of the host while the test's own sockets go on."""
    return await asyncio.to_thread(function, *arguments, **named)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def shared_host() -> Iterator[RunningHost]:
    """One host with a worker and the runners that ship, for all tests of a session.

    Tests share it, so each uses agents and plugins of names of its own.
    """
    with RunningHost() as host:
        yield host


@pytest.fixture
def host(shared_host: RunningHost) -> Iterator[RunningHost]:
    """The shared host; a traceback in any of its logs fails the test."""
    yield shared_host
    assert not shared_host.processes.dead(), shared_host.output()
    shared_host.assert_no_tracebacks()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with RunningHost() as _host:
        sys.stdout.write(f"{_host.url}\n{json.dumps(_host.secrets, indent=2)}\n")
        signal.pause()
