"""What people do with packages. Each act is one transaction and one audit entry.

Nothing here builds, starts or ends anything: rows say what is wanted, and
`agents.packages.supervisor` brings that about.
"""

import shutil
from pathlib import Path
from typing import IO
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from agents.choices import BuildStatus
from agents.packages.archive import PackageError, PackageFacts, inspect_package
from agents.packages.models import PackageProcess, PackageVersion
from agents.packages.places import ask_for_supervisor, upload_place
from agents.registry.models import Plugin
from agents.registry.tokens import create_plugin_token, revoke_plugin_tokens
from langbot.core.audit import record_act
from langbot.core.models import Workspace
from langbot.lib.ids import uuid7
from langbot.lib.models import lock_rows


def install_package(
    file: IO[bytes], workspace: Workspace | None, *, author: str, plugin: str = ""
) -> PackageVersion:
    """Take a package file: a new plugin, or a new version of one that is here.

    With `plugin` (`author/name`) the file must be of that plugin. A plugin stays in
    its workspace, none means all of them. Raises PackageError, and nothing is kept.
    """
    facts = inspect_package(file)
    if plugin and facts.plugin != plugin:
        text = _("The file is of %(found)s, not of %(wanted)s.")
        raise PackageError(text % {"found": facts.plugin, "wanted": plugin})
    public_id = uuid7()
    place = upload_place(public_id)
    try:
        _store(file, place)  # first: a transaction waits for no disk
        with transaction.atomic():
            row = _own_plugin(facts, workspace)
            version = _add_version(row, facts, public_id, author)
            _ensure_process(row)
            said = {"version": facts.version, "sha256": facts.sha256}
            record_act(author, "package uploaded", row, after=said)
            transaction.on_commit(ask_for_supervisor)
    except BaseException:
        place.unlink(missing_ok=True)
        raise
    return version


def remove_package(plugin: Plugin, *, author: str) -> bool:
    """Stop a package and remove its files; what names the plugin stays, archived.

    False when it is being removed already, or is no package. Its token ends at once.
    """
    with transaction.atomic():
        process = _lock_process(plugin)
        if process is None:
            return False
        process.is_removing, process.is_wanted = True, False
        process.secret = ""
        process.save(update_fields=["is_removing", "is_wanted", "secret"])
        revoke_plugin_tokens([process.token_id] if process.token_id else [])
        record_act(author, "package removed", plugin)
        transaction.on_commit(ask_for_supervisor)
    return True


def want_process(plugin: Plugin, *, wanted: bool, author: str) -> bool:
    """Have the process run or not; False when that was wanted already."""
    rows = PackageProcess.objects.filter(plugin=plugin, is_removing=False)
    with transaction.atomic():
        if not rows.exclude(is_wanted=wanted).update(is_wanted=wanted):
            return False
        record_act(author, "package started" if wanted else "package stopped", plugin)
        transaction.on_commit(ask_for_supervisor)
    return True


def restart_process(plugin: Plugin, *, author: str) -> bool:
    """Have the process end and start again; False for no package that is to run."""
    rows = PackageProcess.objects.filter(
        plugin=plugin, is_removing=False, is_wanted=True
    )
    with transaction.atomic():
        if not rows.update(restart=F("restart") + 1, failures=0):
            return False
        record_act(author, "package restarted", plugin)
        transaction.on_commit(ask_for_supervisor)
    return True


def use_version(version: PackageVersion, *, author: str) -> bool:
    """Run another built version; False when it runs already or is not built."""
    with transaction.atomic():
        ready = PackageVersion.objects.filter(pk=version.pk, status=BuildStatus.READY)
        processes = PackageProcess.objects.filter(
            plugin=version.plugin_id, is_removing=False
        )
        others = processes.exclude(current=version)
        # Locked, or its files might be pruned in between.
        if not lock_rows(ready) or not others.update(current=version, failures=0):
            return False
        said = {"version": version.version}
        record_act(author, "package version chosen", version.plugin, after=said)
        transaction.on_commit(ask_for_supervisor)
    return True


def renew_token(plugin: Plugin, *, author: str) -> bool:
    """Give a package's process another token; the old one ends at once.

    The process is started again with it. Nobody is shown it. False for no package.
    """
    with transaction.atomic():
        process = _lock_process(plugin)
        if process is None:
            return False
        revoke_plugin_tokens([process.token_id] if process.token_id else [])
        _give_token(process, plugin)
        PackageProcess.objects.filter(pk=process.pk).update(restart=F("restart") + 1)
        record_act(author, "package token rotated", plugin)
        transaction.on_commit(ask_for_supervisor)
    return True


def _lock_process(plugin: Plugin) -> PackageProcess | None:
    """Lock a package's row, without its secret: that may be unreadable."""
    rows = PackageProcess.objects.filter(plugin=plugin, is_removing=False)
    return next(iter(lock_rows(rows.defer("secret"))), None)


def _own_plugin(facts: PackageFacts, workspace: Workspace | None) -> Plugin:
    new = {"workspace": workspace, "version": facts.version}
    Plugin.objects.get_or_create(name=facts.plugin, defaults=new)
    (row,) = lock_rows(Plugin.objects.filter(name=facts.plugin))
    if PackageProcess.objects.filter(plugin=row, is_removing=True).exists():
        raise PackageError(_("The plugin is being removed; try again in a moment."))
    if row.workspace != workspace:
        raise PackageError(_("This plugin belongs to another workspace."))
    return row


def _add_version(
    plugin: Plugin, facts: PackageFacts, public_id: UUID, author: str
) -> PackageVersion:
    building = plugin.versions.filter(
        sha256=facts.sha256, status__in=[BuildStatus.WAITING, BuildStatus.BUILDING]
    )
    if building.exists():
        raise PackageError(_("This file is being built already."))
    return PackageVersion.objects.create(
        public_id=public_id,
        plugin=plugin,
        version=facts.version,
        sha256=facts.sha256,
        size=facts.size,
        author=author[:200],
    )


def _store(file: IO[bytes], place: Path) -> None:
    place.touch(mode=0o600, exist_ok=False)
    with place.open("wb") as target:
        file.seek(0)
        shutil.copyfileobj(file, target)


def _ensure_process(plugin: Plugin) -> None:
    rows = PackageProcess.objects.defer("secret")  # one that is there keeps its own
    process, is_new = rows.get_or_create(plugin=plugin)
    if is_new:
        _give_token(process, plugin)


def _give_token(process: PackageProcess, plugin: Plugin) -> None:
    label = f"package {plugin.name}"[:100]
    process.token, process.secret = create_plugin_token(
        label, workspace=plugin.workspace, plugins=[plugin.name]
    )
    process.save(update_fields=["token", "secret"])
