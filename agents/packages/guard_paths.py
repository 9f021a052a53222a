"""Which paths a packaged plugin is given and which it can name (LB-163)."""

import re
from pathlib import Path
from typing import Final

from django.utils.translation import gettext as _

# Neither the folder itself nor anything below it.
SYSTEM_TREES: Final = tuple(
    Path(name)
    for name in (
        *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32"),
        *("/proc", "/sbin", "/sys", "/usr", "/run", "/var/run", "/System", "/Library"),
    )
)
# Only the folder itself: data folders are commonly below.
SYSTEM_FOLDERS: Final = tuple(
    Path(name)
    for name in ("/", "/home", "/Users", "/root", "/opt", "/srv", "/tmp", "/var")  # noqa: S108  refused, not used
)
_LONGEST: Final = 240  # characters of one name, most file systems take 255 bytes
_ODD = re.compile(r"[\x00-\x1f\x7f\\:]")


class PathRefusedError(ValueError):
    """The path leads somewhere that it may not; the message says which and why."""


def checked_root(path: Path, home: Path | None = None) -> Path:
    """Return the real path of a folder that packages may live in.

    It is absolute, has no `..`, leads through no symbolic link to somewhere else than
    it says, and is neither a system folder, nor a home folder, nor hidden in a home.
    Raises PathRefusedError.
    """
    if not path.is_absolute() or ".." in path.parts:
        raise PathRefusedError(_("%s is not an absolute path.") % path)
    real, home = path.resolve(), (home or Path.home()).resolve()
    for tree in (one for name in SYSTEM_TREES for one in (name, name.resolve())):
        if real == tree or tree in real.parents:
            raise PathRefusedError(_("%s belongs to the system.") % real)
    if real in SYSTEM_FOLDERS or real == home:
        raise PathRefusedError(_("%s holds more than packages.") % real)
    if home in real.parents and real.relative_to(home).parts[0].startswith("."):
        raise PathRefusedError(_("%s is where a home keeps its settings.") % real)
    return real


def member_path(root: Path, name: str) -> Path:
    """Return where a file of an archive goes below `root`; raises PathRefusedError.

    Absolute names, drives, `..`, control characters and symbolic links on the way are
    refused.
    """
    parts = name.rstrip("/").split("/")
    if not name or name.startswith("/") or _ODD.search(name):
        raise PathRefusedError(_("“%s” is no name of a file.") % name[:200])
    if any(part in {"", ".", ".."} or len(part) > _LONGEST for part in parts):
        raise PathRefusedError(_("“%s” leads out of its folder.") % name[:200])
    return inside(root, root.joinpath(*parts))


def inside(root: Path, path: Path) -> Path:
    """Return `path` if it is below `root` and no symbolic link leads elsewhere."""
    if path != root and root not in path.parents:
        raise PathRefusedError(_("“%s” leads out of its folder.") % path)
    real_root = root.resolve()
    real = path.resolve()
    if real != real_root and real_root not in real.parents:
        raise PathRefusedError(_("“%s” leads out of its folder.") % path)
    return path
