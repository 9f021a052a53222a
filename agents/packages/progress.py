"""What the supervisor of packages reads and writes: each step is one statement."""

import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from agents.choices import BuildStatus, ProcessStatus
from agents.packages.models import PackageProcess, PackageVersion
from agents.packages.places import folder_of, plugin_folder, upload_of
from agents.registry.switches import archive_plugin
from langbot.core.audit import record_act
from langbot.lib.models import lock_rows

KEPT_READY = 2  # versions of a plugin whose files are kept: the current and the former
KEPT_ROWS = 20  # versions of a plugin that are listed
AUTHOR = "packages"
_OVER = (BuildStatus.FAILED, BuildStatus.REMOVED)


def processes() -> QuerySet[PackageProcess]:
    """Return every package with what it is to run.

    Its token is read when it is asked for: one that cannot be read stops that one.
    """
    rows = PackageProcess.objects.select_related("plugin", "current__plugin")
    return rows.defer("secret")


def next_build() -> PackageVersion | None:
    """Take the version that has waited longest; None when none waits."""
    waiting = PackageVersion.objects.filter(
        status=BuildStatus.WAITING, plugin__package__is_removing=False
    )
    version = waiting.select_related("plugin").order_by("pk").first()
    if version is not None:
        _of(version).update(status=BuildStatus.BUILDING)
    return version


def requeue_builds() -> int:
    """Let builds wait again that a supervisor left when it was killed."""
    left = PackageVersion.objects.filter(status=BuildStatus.BUILDING)
    return left.update(status=BuildStatus.WAITING, build_log="")


def note_build(version: PackageVersion, log: str) -> None:
    """Keep the log of a build that is under way."""
    _of(version).update(build_log=log)


def end_build(version: PackageVersion, log: str, error: str = "") -> None:
    """End a build. A good one is what its plugin runs from now on."""
    status = BuildStatus.FAILED if error else BuildStatus.READY
    if error:
        remove_folder(version)
    ended = {"build_log": log, "error": error, "ended_at": datetime.now(UTC)}
    with transaction.atomic():
        _of(version).update(status=status, **ended)
        if not error:
            mine = PackageProcess.objects.filter(plugin=version.plugin_id)
            mine.update(current=version, failures=0)
        said = {"version": version.version, "error": error}
        act = "package not built" if error else "package built"
        record_act(AUTHOR, act, version.plugin, after=said)
    if error:
        upload_of(version).unlink(missing_ok=True)


def note_process(process: PackageProcess, status: ProcessStatus, reason: str) -> None:
    """Write what a process does now."""
    values: dict[str, Any] = {"status": status, "reason": reason[:200]}
    if status == ProcessStatus.RUNNING:
        values["started_at"] = datetime.now(UTC)
    _mine(process).update(**values)


def note_failure(process: PackageProcess, count: int) -> None:
    """Write how often the process has ended by itself since it was last well."""
    _mine(process).update(failures=count)


def note_log(process: PackageProcess, tail: str) -> None:
    """Keep the end of the log of a process."""
    _mine(process).update(log_tail=tail)


def finish_removal(process: PackageProcess) -> None:
    """Remove what a package has left, once nothing of it runs any more."""
    plugin = process.plugin
    if plugin.versions.filter(status=BuildStatus.BUILDING).exists():
        return  # its builder ends it first
    for version in plugin.versions.exclude(status__in=_OVER):
        remove_files(version)
    shutil.rmtree(plugin_folder(plugin.name), ignore_errors=True)
    with transaction.atomic():
        plugin.versions.exclude(status__in=_OVER).update(status=BuildStatus.REMOVED)
        archive_plugin(plugin)
        PackageProcess.objects.filter(pk=process.pk).delete()
        record_act(AUTHOR, "archived", plugin)


def prune_versions(process: PackageProcess) -> None:
    """Remove the files of versions before the former one, and the oldest rows.

    A version that a person has chosen meanwhile stays.
    """
    ready = process.plugin.versions.filter(status=BuildStatus.READY)
    others = ready.order_by("-pk")
    if process.current_id is not None:
        others = others.exclude(pk=process.current_id)
    for version in others[KEPT_READY - 1 :]:
        if _retire(version):
            remove_files(version)
    over = process.plugin.versions.filter(status__in=_OVER).order_by("-pk")
    old: Iterable[int] = over.values_list("pk", flat=True)[KEPT_ROWS:]
    PackageVersion.objects.filter(pk__in=list(old)).delete()


def _retire(version: PackageVersion) -> bool:
    """Mark a built version as removed, unless it is what runs (see `use_version`)."""
    with transaction.atomic():
        ready = lock_rows(_of(version).filter(status=BuildStatus.READY))
        if not ready or PackageProcess.objects.filter(current=version).exists():
            return False
        _of(version).update(status=BuildStatus.REMOVED)
    return True


def remove_files(version: PackageVersion) -> None:
    """Remove a version's folder and package file; harmless when repeated."""
    remove_folder(version)
    upload_of(version).unlink(missing_ok=True)


def remove_folder(version: PackageVersion) -> None:
    """Remove a version's folder; its package file stays."""
    shutil.rmtree(folder_of(version), ignore_errors=True)


def _of(version: PackageVersion) -> QuerySet[PackageVersion]:
    return PackageVersion.objects.filter(pk=version.pk)


def _mine(process: PackageProcess) -> QuerySet[PackageProcess]:
    return PackageProcess.objects.filter(pk=process.pk)
