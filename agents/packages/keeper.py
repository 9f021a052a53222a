"""Keeps the process of one package as its row says."""

import hashlib
import logging
import os
import selectors
import time
from dataclasses import dataclass, field
from typing import Final

from agents.choices import ProcessStatus
from agents.packages import progress, wording
from agents.packages.guard_environment import child_environment
from agents.packages.guard_output import OutputGuard, Tail
from agents.packages.models import PackageProcess
from agents.packages.places import folder_of
from agents.packages.processes import GuardedProcess
from langbot.lib.secrets import SecretUnreadableError

logger = logging.getLogger(__name__)

RESTART_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
STABLE_SECONDS: Final = 60.0  # a process that lived this long was a good one
LOG_SECONDS: Final = 2.0  # how stale the log of a row may be

Wanted = tuple[int, int, str]  # version, restarts asked for, token


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all packages of one supervisor share."""

    installation: str
    url: str  # of the plugin socket
    selector: selectors.BaseSelector

    def marker(self, *parts: object) -> str:
        """Return the marker of processes; its end keeps 1 apart from 12."""
        return ":".join([self.installation, *map(str, parts), ""])


@dataclass
class Keeper:
    """The process of one package; `follow` is called again and again."""

    around: Surroundings
    child: GuardedProcess | None = None
    runs: Wanted | None = None
    tail: Tail = field(default_factory=Tail)
    failures: int = 0
    start_after: float = 0.0
    logged_at: float = 0.0

    def follow(self, row: PackageProcess) -> None:
        """Bring the process one step nearer to what the row wants."""
        try:
            wanted, reason = _wanted(row), ""
        except SecretUnreadableError:  # what runs already goes on with the one it has
            wanted = self.runs if self.child is not None else None
            reason = wording.TOKEN_UNREADABLE
        if self.child is not None:
            self._watch(row, self.child, wanted)
        elif wanted is None:
            self._rest(row, reason)
        elif wanted != self.runs or time.monotonic() >= self.start_after:
            self._start(row, wanted)
        self._keep_log(row)

    def stop(self) -> bool:
        """Ask the process to end; True when nothing of it is left."""
        if self.child is None:
            return True
        self.child.stop()
        return self.child.has_ended()

    def _watch(
        self, row: PackageProcess, child: GuardedProcess, wanted: Wanted | None
    ) -> None:
        if wanted != self.runs:
            child.stop()
        if not child.has_ended():
            return
        self.child = None
        if wanted == self.runs:
            self._fail(row, wording.ENDED % {"code": child.exit_code}, child.started_at)
        else:
            self.failures = 0

    def _rest(self, row: PackageProcess, reason: str) -> None:
        self.runs = None
        if row.is_removing:
            progress.finish_removal(row)
        elif (row.status, row.reason) != (ProcessStatus.STOPPED, reason):
            progress.note_process(row, ProcessStatus.STOPPED, reason)

    def _start(self, row: PackageProcess, wanted: Wanted) -> None:
        if wanted != self.runs:
            self.failures, self.runs = 0, wanted
        assert row.current is not None  # noqa: S101 - `_wanted` has seen it
        child = self._make(row)
        try:
            child.start()
        except OSError as error:
            reason = wording.NOT_STARTED % {"reason": error.strerror}
            self._fail(row, reason, time.monotonic())
            return
        self.child = child
        progress.note_process(row, ProcessStatus.RUNNING, "")
        progress.prune_versions(row)

    def _make(self, row: PackageProcess) -> GuardedProcess:
        assert row.current is not None  # noqa: S101 - as above
        folder = folder_of(row.current)
        marker = self.around.marker("run", row.pk)
        given = {
            "DEBUG_RUNTIME_WS_URL": self.around.url,
            "PLUGIN_DEBUG_KEY": row.secret,
        }
        environment = child_environment(os.environ, given, folder=folder, marker=marker)
        name = row.plugin.name

        def keep(line: str) -> None:
            self.tail.add(line)
            logger.info("%s: %s", name, line)

        return GuardedProcess(
            command=[str(folder / "venv" / "bin" / "lbp"), "run"],
            folder=folder / "code",
            environment=environment,
            marker=marker,
            output=OutputGuard(keep, [row.secret]),
            selector=self.around.selector,
        )

    def _fail(self, row: PackageProcess, reason: str, started_at: float) -> None:
        now = time.monotonic()
        if now - started_at >= STABLE_SECONDS:
            self.failures = 0
        wait = RESTART_SECONDS[min(self.failures, len(RESTART_SECONDS) - 1)]
        self.failures += 1
        self.start_after = now + wait
        logger.warning("%s %s, starts again in %g s", row.plugin.name, reason, wait)
        progress.note_process(row, ProcessStatus.RESTARTING, reason)
        progress.note_failure(row, self.failures)

    def _keep_log(self, row: PackageProcess) -> None:
        now = time.monotonic()
        if self.tail.has_changed and now - self.logged_at >= LOG_SECONDS:
            self.logged_at = now
            progress.note_log(row, self.tail.text())


def _wanted(row: PackageProcess) -> Wanted | None:
    """Return what is to run, None for nothing; raises SecretUnreadableError."""
    if row.is_removing or not row.is_wanted or row.current_id is None:
        return None
    digest = hashlib.sha256(row.secret.encode()).hexdigest()
    return row.current_id, row.restart, digest
