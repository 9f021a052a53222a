"""Builds uploaded packages, one at a time."""

import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

from django.db import Error as DatabaseFailure

from agents.packages import build, progress, wording
from agents.packages.archive import PackageError, unpack_package
from agents.packages.guard_environment import child_environment
from agents.packages.guard_output import OutputGuard, Tail
from agents.packages.guard_processes import end_group
from agents.packages.keeper import LOG_SECONDS, Surroundings
from agents.packages.models import PackageVersion
from agents.packages.places import folder_of, upload_of
from agents.packages.processes import GuardedProcess

logger = logging.getLogger(__name__)

BUILD_SECONDS: Final = 900.0
LOG_CHARACTERS: Final = 64 * 1024


class Builder:
    """The build under way, if any; `follow` is called again and again."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._version: PackageVersion | None = None
        self._child: GuardedProcess | None = None
        self._log = Tail(LOG_CHARACTERS)
        self._logged_at = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether a build is under way."""
        return self._version is not None

    def follow(self) -> None:
        """Begin the next build, or look after the one under way.

        What nobody foresaw ends that build as failed, and the next one begins.
        Raises errors of the database, after which it is called again.
        """
        try:
            self._step()
        except DatabaseFailure:
            raise
        except Exception as error:  # one package must not stop the others
            logger.exception("the build of %s failed", self._version)
            self._give_up(wording.HOST_FAILED % {"reason": type(error).__name__})

    def _step(self) -> None:
        if self._version is None:
            version = progress.next_build()
            if version is not None:
                self._begin(version)
        elif self._child is not None:
            self._watch(self._version, self._child)

    def stop(self) -> bool:
        """End the build; the next supervisor begins it again. True: nothing is left."""
        if self._child is None:
            return True
        self._child.stop()
        return self._child.has_ended()

    def _begin(self, version: PackageVersion) -> None:
        self._version, self._log = version, Tail(LOG_CHARACTERS)
        folder = folder_of(version)
        progress.remove_folder(version)  # what an interrupted build has left
        try:
            unpack_package(upload_of(version), folder / "code")
            for name in ("home", "tmp"):
                (folder / name).mkdir(mode=0o700)
            self._child = self._make(folder, version)
            self._child.start()
        except (PackageError, OSError) as error:
            self._end(version, wording.NOT_UNPACKED % {"reason": error})

    def _make(self, folder: Path, version: PackageVersion) -> GuardedProcess:
        marker = self._around.marker("build", version.pk)
        environment = child_environment(
            os.environ, {}, folder=folder, marker=marker, is_build=True
        )
        secrets = [v for n, v in environment.items() if n.startswith("PIP_")]
        return GuardedProcess(
            command=[sys.executable, "-I", build.__file__, str(folder)],
            folder=folder,
            environment=environment,
            marker=marker,
            output=OutputGuard(self._log.add, [s for s in secrets if "@" in s]),
            selector=self._around.selector,
        )

    def _watch(self, version: PackageVersion, child: GuardedProcess) -> None:
        now = time.monotonic()
        is_late = now - child.started_at > BUILD_SECONDS
        is_gone = not PackageVersion.objects.filter(
            pk=version.pk, plugin__package__is_removing=False
        ).exists()
        if is_late or is_gone:
            child.stop()
        if child.has_ended():
            self._end(version, _error(version, child, is_late=is_late, is_gone=is_gone))
        elif self._log.has_changed and now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            progress.note_build(version, self._log.text())

    def _give_up(self, error: str) -> None:
        process = self._child.process if self._child is not None else None
        if process is not None and process.poll() is None:
            end_group(process, signal.SIGKILL)
        if self._version is not None:
            self._end(self._version, error)

    def _end(self, version: PackageVersion, error: str) -> None:
        self._version = self._child = None
        progress.end_build(version, self._log.text(), error)


def _error(
    version: PackageVersion, child: GuardedProcess, *, is_late: bool, is_gone: bool
) -> str:
    if is_gone:
        return wording.REMOVED
    if is_late:
        return wording.TOO_LONG % {"seconds": f"{BUILD_SECONDS:g}"}
    if child.exit_code:
        return wording.BUILD_ENDED % {"code": child.exit_code}
    if not (folder_of(version) / "venv" / "bin" / "lbp").exists():
        return wording.NO_SDK
    return ""
