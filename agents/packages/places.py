"""Where packages live in the data folder."""

from pathlib import Path
from uuid import UUID

from agents.packages.guard_paths import checked_root, inside
from agents.packages.models import PackageVersion
from langbot.lib.conf import conf

# While this file is there, `runlangbot` keeps the process that runs packages.
NEEDED_FILE = "needed"


def packages_root() -> Path:
    """Return the folder of all packages, made when missing; raises PathRefusedError."""
    root = checked_root(conf().data_dir.absolute() / "packages")
    for name in ("", "uploads", "plugins"):
        (root / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    return root


def upload_of(version: PackageVersion) -> Path:
    """Return where a version's package file is kept."""
    return upload_place(version.public_id)


def upload_place(public_id: UUID) -> Path:
    """Return where the package file of the version with this id is kept."""
    return packages_root() / "uploads" / f"{public_id}.lbpkg"


def plugin_folder(plugin_name: str) -> Path:
    """Return the folder of one plugin's versions."""
    root = packages_root() / "plugins"
    return inside(root, root / plugin_name)


def folder_of(version: PackageVersion) -> Path:
    """Return the folder of a version: `code`, `venv`, `home` and `tmp` are in it."""
    name = f"{version.version}-{version.public_id.hex[-12:]}"
    return plugin_folder(version.plugin.name) / name


def ask_for_supervisor() -> None:
    """Have `runlangbot` start what runs packages; harmless when it runs."""
    (packages_root() / NEEDED_FILE).touch(mode=0o600)
