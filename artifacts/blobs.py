"""Content-addressed files in one private folder: `<aa>/<sha256>`.

A blob appears whole under its name or not at all. It belongs to every artifact with
its hash, so it is removed only when none is left and nobody touched it for a while.
"""

import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from django.core.files.storage import FileSystemStorage

from langbot.lib.conf import conf
from langbot.lib.ids import uuid7

_HASH = re.compile(r"[0-9a-f]{64}")
_DRAFT = "draft-"
_TRASH = "trash-"
_ARRIVALS = "in"  # where what has no hash yet is written; two letters, as all folders


class BlobMissingError(LookupError):
    """There is no such blob, or what lies there is not one of ours."""


def storage() -> FileSystemStorage:
    """Return the private storage; never the project's public media folder."""
    return FileSystemStorage(
        location=conf().data_dir / "artifacts",
        file_permissions_mode=0o600,
        directory_permissions_mode=0o700,
    )


def write(data: bytes) -> str:
    """Store bytes and return their sha256; stored ones are only marked as used."""
    digest = hashlib.sha256(data).hexdigest()
    path = _path(digest)
    try:
        os.utime(path, follow_symlinks=False)
    except FileNotFoundError:
        _write_new(path, data)
    return digest


def write_chunks(chunks: Iterable[bytes]) -> tuple[str, int]:
    """Store bytes that need not fit into memory; returns their sha256 and number."""
    digest, size = hashlib.sha256(), 0
    with _draft(Path(storage().location) / _ARRIVALS) as (file, keep_as):
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            file.write(chunk)
        keep_as(_path(digest.hexdigest()))
    return digest.hexdigest(), size


def _write_new(path: Path, data: bytes) -> None:
    with _draft(path.parent) as (file, keep_as):
        file.write(data)
        keep_as(path)


@contextmanager
def _draft(folder: Path) -> Iterator[tuple[BinaryIO, Callable[[Path], None]]]:
    """Give a file to write, and what makes it appear whole; else nothing stays."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f"{_DRAFT}{uuid7()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:

        def keep_as(path: Path) -> None:
            file.flush()
            os.fsync(file.fileno())
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.replace(path)

        try:
            yield file, keep_as
        finally:
            draft.unlink(missing_ok=True)  # not there when it was kept


def open_blob(digest: str) -> BinaryIO:
    """Open a blob for reading; raises BlobMissingError.

    Its real path is checked on every read (LB-94): a link planted in the folder, or
    a folder moved elsewhere, opens nothing.
    """
    path = _path(digest)
    root = Path(storage().location).resolve()
    try:
        if path.parent.resolve(strict=True).parent != root:
            raise BlobMissingError(digest)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        raise BlobMissingError(digest) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BlobMissingError(digest)
    return os.fdopen(descriptor, "rb")


def discard(digest: str, unused_seconds: float) -> bool:
    """Remove a blob that nobody wrote for that long; says whether it went.

    It is moved aside first: a writer either finds no file and writes it again, or has
    marked it as used before the move, which is seen here and undone.
    """
    path = _path(digest)
    trash = path.with_name(f"{_TRASH}{uuid7()}")
    try:
        if not _is_unused(path, unused_seconds):
            return False
        path.rename(trash)
    except FileNotFoundError:
        return False
    unused = _is_unused(trash, unused_seconds)
    if not unused:
        trash.replace(path)  # the same bytes, whoever wrote them meanwhile
        return False
    trash.unlink()
    return True


def digests() -> Iterator[str]:
    """Yield the hash of every stored blob."""
    for path in Path(storage().location).glob("??/*"):
        if _HASH.fullmatch(path.name):
            yield path.name


def remove_leftovers(unused_seconds: float) -> int:
    """Remove drafts and moved blobs that a killed process left behind."""
    removed = 0
    for path in Path(storage().location).glob("??/*-*"):
        if path.name.startswith((_DRAFT, _TRASH)) and _is_unused(path, unused_seconds):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _is_unused(path: Path, seconds: float) -> bool:
    return path.lstat().st_mtime < time.time() - seconds


def _path(digest: str) -> Path:
    if not _HASH.fullmatch(digest):
        raise BlobMissingError(digest)
    return Path(storage().location) / digest[:2] / digest
