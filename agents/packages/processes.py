"""One guarded process of a package: a session of its own, its output read and cut."""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agents.packages.guard_output import OutputGuard
from agents.packages.guard_processes import end_group, end_marked
from langbot import valkey

STOP_SECONDS: Final = 10.0  # as the web and the worker have
_READ_BYTES: Final = 64 * 1024


@dataclass
class GuardedProcess:
    """A process of a package; `marker` names it and all that it starts.

    It dies with its supervisor (Linux), and nothing of it is left after `has_ended`.
    """

    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(repr=False)
    marker: str
    output: OutputGuard
    selector: selectors.BaseSelector
    kill_at: float = 0.0
    started_at: float = 0.0
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it; raises OSError."""
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603 - our own command lines
            self.command,
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
            preexec_fn=valkey.dies_with_parent(),  # noqa: PLW1509 - no threads here
        )
        assert self.process.stdout is not None  # noqa: S101 - a pipe was asked for
        os.set_blocking(self.process.stdout.fileno(), False)
        self.selector.register(self.process.stdout, selectors.EVENT_READ, self)

    def read(self) -> None:
        """Take what it wrote; called when there is something to read."""
        pipe = self.process.stdout if self.process else None
        if pipe is None or pipe.closed:
            return
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(pipe.fileno(), _READ_BYTES)
            self.output.feed(data)
            if not data:
                self._close()

    def stop(self) -> None:
        """Ask all of its group to end; `has_ended` kills what is left after 10 s."""
        if not self.kill_at and self.process is not None:
            self.kill_at = time.monotonic() + STOP_SECONDS
            end_group(self.process, signal.SIGTERM)

    def has_ended(self) -> bool:
        """Whether nothing of it runs any more; kills what should not."""
        if self.process is None:
            return True
        if self.process.poll() is None:
            if self.kill_at and time.monotonic() > self.kill_at:
                end_group(self.process, signal.SIGKILL)
            return False
        self._finish()
        return True

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self.process.poll() if self.process else None

    def _finish(self) -> None:
        """End what it has left behind, and read the rest of its output."""
        end_marked(self.marker)
        pipe = self.process.stdout if self.process else None
        while pipe is not None and not pipe.closed:
            try:
                data = os.read(pipe.fileno(), _READ_BYTES)
            except BlockingIOError:
                data = b""  # somebody beyond our reach holds the other end
            self.output.feed(data)
            if not data:
                self._close()

    def _close(self) -> None:
        if self.process is not None and self.process.stdout is not None:
            with contextlib.suppress(KeyError):
                self.selector.unregister(self.process.stdout)
            self.process.stdout.close()
