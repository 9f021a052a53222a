"""Processes that tests start: each with a log of its own, all ended together."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

STOP_SECONDS = 15
_ROOT = Path(__file__).resolve().parents[2]


class ProcessGroup:
    """Python processes of this repository, or of `root`, with one environment.

    Their output goes to `<folder>/<name>.log`, appended when a name is used again.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        *,
        python: str = sys.executable,
        root: Path = _ROOT,
    ) -> None:
        self.folder = folder
        self.environment = dict(environment)
        self._python, self._root = python, root
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self, name: str, *command: str, variables: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a long-lived process; a name that runs must be ended first."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [self._python, *command],
                cwd=self._root,
                env=self.environment | dict(variables or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running[name] = process
        return process

    def run(self, *command: str) -> str:
        """Run a command to its end and return what it printed."""
        done = subprocess.run(
            [self._python, *command],
            check=False,
            cwd=self._root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"
        return done.stdout

    def end(self, *names: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End these processes with a signal, after 15 s with SIGKILL."""
        ending = [self.running.pop(name) for name in names]
        for process in ending:
            process.send_signal(number)
        deadline = time.monotonic() + STOP_SECONDS
        for process in ending:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def end_all(self) -> None:
        """End every process that still runs."""
        self.end(*self.running)

    def dead(self) -> list[str]:
        """Name the processes that ended by themselves."""
        return [name for name, one in self.running.items() if one.poll() is not None]

    def logs(self) -> dict[str, str]:
        """Return what each process has printed so far."""
        return {
            path.stem: path.read_text(errors="replace")
            for path in sorted(self.folder.glob("*.log"))
        }
