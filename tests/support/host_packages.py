"""What the rows of a running host say of a package; called by `RunningHost.inside`."""

from typing import Any


def package_state(plugin: str) -> dict[str, Any]:
    """Return the versions and the process of a packaged plugin."""
    from agents.models import PackageProcess, Plugin

    row = Plugin.objects.get(name=plugin)
    process = PackageProcess.objects.select_related("current").filter(plugin=row)
    package = process.first()
    return {
        "pk": row.pk,
        "versions": {one.version: one.status for one in row.versions.order_by("pk")},
        "errors": {one.version: one.build_log for one in row.versions.order_by("pk")},
        "has_process": package is not None,
        "current": package.current.version if package and package.current else "",
        "status": package.status if package else "",
        "log": package.log_tail if package else "",
        "secret": package.secret if package else "",
    }


def folders_of(plugin: str) -> list[str]:
    """Return the folders of a plugin's versions that are on the disk."""
    from agents.packages.places import plugin_folder

    folder = plugin_folder(plugin)
    return sorted(one.name for one in folder.iterdir()) if folder.exists() else []


def acts_on(plugin: str) -> list[str]:
    """Return what the audit log says of a plugin, oldest first."""
    from agents.models import Plugin
    from langbot.core.models import AuditLog

    row = Plugin.objects.get(name=plugin)
    entries = AuditLog.objects.filter(object_id=row.public_id).order_by("pk")
    return list(entries.values_list("action", flat=True))
