"""The keys that encrypt secrets at rest: the first encrypts, all decrypt.

They are `LANGBOT["SECRET_KEYS"]`, or where that is empty the lines of
`LANGBOT["SECRET_KEYS_FILE"]`. A changed file is seen with the next secret that is read
or written, by one `stat`: a rotation reaches running processes without a restart.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.fernet import Fernet

from langbot.lib.conf import conf

Keys = tuple[str, ...]
_Signature = tuple[int, int, int]

_read: dict[Path, tuple[_Signature, Keys]] = {}


class KeyFileError(RuntimeError):
    """The keys are not in a file of ours; the message says where they are."""


def current_keys() -> Keys:
    """Return the keys as they are now, newest first; empty where there are none."""
    path = _file()
    return tuple(conf().secret_keys) if path is None else _keys_of(path)


def key_file() -> Path:
    """Return the file that rotation writes; raises KeyFileError for listed keys."""
    path = _file()
    if path is None:
        message = (
            "the keys are listed in the settings (LANGBOT_SECRET_KEYS): put a new one "
            "first there, restart every process, then run this again"
        )
        raise KeyFileError(message)
    return path


def write_keys(keys: Keys) -> None:
    """Replace the file's keys: a reader finds the old ones or the new ones, whole."""
    path = key_file()
    draft = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("\n".join(keys) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # a key that encrypts must outlive a power failure
    finally:
        os.close(folder)


@contextmanager
def alone() -> Iterator[None]:
    """Keep other rotations of this key file away; raises KeyFileError for a second.

    The kernel lets go of it when the process dies, however it dies.
    """
    path = _file()
    if path is None:
        yield  # nobody writes the keys, and writing the secrets twice harms nobody
        return
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = "another rotation is at work"
            raise KeyFileError(message) from None
        yield


def new_key() -> str:
    return Fernet.generate_key().decode()


def fingerprint(key: str) -> str:
    """Return what names a key in logs and reports, and tells nothing of it."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def _file() -> Path | None:
    """Return the file that holds the keys; None where the settings list them."""
    settings = conf()
    return None if settings.secret_keys else settings.secret_keys_file


def _keys_of(path: Path) -> Keys:
    known = _read.get(path)
    try:
        stat = path.stat()
    except OSError:
        return known[1] if known is not None else ()
    signature = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
    if known is None or known[0] != signature:
        words = re.split(r"[\s,]+", path.read_text(encoding="utf-8"))
        known = _read[path] = (signature, tuple(word for word in words if word))
    return known[1]
