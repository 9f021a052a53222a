"""What the process of a packaged plugin is told: a list of what is allowed (LB-163)."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

# Names are compared in capitals.
ALLOWED: Final = frozenset({"LANG", "LANGUAGE", "TZ", "NO_PROXY"})
ALLOWED_PREFIXES: Final = ("LC_", "SSL_CERT_")
PROXIES: Final = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"})
# While packages are installed, where pip is told of the registry; never for a plugin.
BUILD_PREFIXES: Final = ("PIP_",)
MARKER: Final = "LANGBOT_PACKAGE"  # which package a process belongs to
INTERNAL: Final = frozenset({"PATH", "HOME", "TMPDIR", MARKER, "PYTHONUNBUFFERED"})
_SYSTEM_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_INTERNAL_PREFIXES: Final = ("LD_", "DYLD_", "PYTHON", "LANGBOT_", "DJANGO_")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


class VariableRefusedError(ValueError):
    """A variable was given that only the host sets; the message names it."""


def child_environment(
    source: Mapping[str, str],
    given: Mapping[str, str],
    *,
    folder: Path,
    marker: str,
    is_build: bool = False,
) -> dict[str, str]:
    """Return the environment of a process of the package in `folder`.

    From `source`, the host's own, comes what the list allows; a proxy whose address
    carries a password does not. `given` is added and may set nothing that the host
    sets itself: raises VariableRefusedError. Home and temporary files are the
    package's own.
    """
    kept = {name: value for name, value in source.items() if _is_allowed(name, value)}
    if is_build:
        kept |= {n: v for n, v in source.items() if n.startswith(BUILD_PREFIXES)}
    for name in given:
        if not _NAME.fullmatch(name) or is_internal(name):
            raise VariableRefusedError(name[:100])
    own = {
        "PATH": f"{folder / 'venv' / 'bin'}:{_SYSTEM_PATH}",
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONUNBUFFERED": "1",
        MARKER: marker,
    }
    return {**kept, **given, **own}


def is_internal(name: str) -> bool:
    """Whether only the host sets a variable of this name."""
    upper = name.upper()
    return upper in INTERNAL or upper.startswith(_INTERNAL_PREFIXES)


def _is_allowed(name: str, value: str) -> bool:
    upper = name.upper()
    if upper in PROXIES:
        return "@" not in urlsplit(value).netloc
    return upper in ALLOWED or upper.startswith(ALLOWED_PREFIXES)
