"""What a package file may be: a zip as `lbp build` makes it, checked before it is kept.

Nothing is trusted: not the sizes that the zip names, not its file names, not its
manifest. Unpacking checks all of it again and stops at the first byte too many.
"""

import hashlib
import re
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

import yaml
from django.utils.translation import gettext as _
from packaging.requirements import InvalidRequirement, Requirement

from agents.packages.guard_paths import PathRefusedError, member_path

FILE_BYTES: Final = 50 * 1024 * 1024  # as uploads of REST (`Limits.upload_bytes`)
UNPACKED_BYTES: Final = 200 * 1024 * 1024
MEMBERS: Final = 5_000
RATIO: Final = 200  # of a file's size to its packed size; text packs about 10 to 1
MANIFEST_BYTES: Final = 64 * 1024
MANIFEST: Final = "manifest.yaml"
REQUIREMENTS: Final = "requirements.txt"
_SLACK: Final = 64 * 1024  # small files may pack better than `RATIO`
_CHUNK: Final = 64 * 1024
# `zipfile` unpacks all others without a bound: 600 bytes of bzip2 fill a gigabyte.
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._+-]{0,48}[A-Za-z0-9])?")
_MOST_REQUIREMENTS: Final = 200
_REQUIREMENT_CHARACTERS: Final = 500
# pip reads the file in the encoding that a comment names; we read UTF-8.
_ENCODING = re.compile(r"coding[:=]\s*+(?!utf-?8(?![\w-]))", re.IGNORECASE)
# The end of a zip: its signature, 8 counts and sizes, and up to 64 KiB of comment.
_END: Final = struct.Struct("<4s4H2LH")
_END_SIGNATURE: Final = b"PK\x05\x06"
_LOCATOR_SIGNATURE: Final = b"PK\x06\x07"  # of sizes of 64 bits
_LOCATOR_BYTES: Final = 20
_COMMENT_BYTES: Final = 65_536
_DIRECTORY_BYTES: Final = 2 * 1024 * 1024  # 46 bytes and a name for each member
# What `zipfile` raises for files that are not what they say, by no plan of its own.
_DAMAGED: Final = (
    zipfile.BadZipFile,
    zlib.error,
    RuntimeError,  # NotImplementedError is one
    ValueError,  # UnicodeDecodeError is one
    EOFError,
    OSError,
)


class PackageError(Exception):
    """Why a file is no package that this host takes; safe to show to who sent it."""


@dataclass(frozen=True, slots=True)
class PackageFacts:
    """What a checked package says of itself."""

    author: str
    name: str
    version: str
    sha256: str
    size: int

    @property
    def plugin(self) -> str:
        """Return `author/name`."""
        return f"{self.author}/{self.name}"


def inspect_package(file: IO[bytes]) -> PackageFacts:
    """Check a package file; raises PackageError. Reads each byte at most twice."""
    size, sha256 = _measure(file)
    with _opened(file) as archive:
        for member in _members(archive):
            _check_member(member)
        manifest = _manifest(archive)
        _check_requirements(archive)
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict):
        raise PackageError(_("manifest.yaml has no metadata."))
    author = _word(metadata, "author", _NAME)
    name = _word(metadata, "name", _NAME)
    version = _word(metadata, "version", _VERSION)
    return PackageFacts(author, name, version, sha256, size)


def unpack_package(path: Path, target: Path) -> None:
    """Unpack a package into a new folder, owner-only; raises PackageError."""
    target.mkdir(mode=0o700, parents=True)
    left = UNPACKED_BYTES
    with path.open("rb") as file, _opened(file) as archive:
        for member in _members(archive):
            _check_member(member)
            try:
                place = member_path(target, member.filename)
            except PathRefusedError as error:
                raise PackageError(str(error)) from None
            if member.is_dir():
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
                continue
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            left -= _copy(archive, member, place, left)


def _measure(file: IO[bytes]) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    file.seek(0)
    while chunk := file.read(_CHUNK):
        size += len(chunk)
        if size > FILE_BYTES:
            raise PackageError(_("The file is over 50 MB."))
        digest.update(chunk)
    file.seek(0)
    return size, digest.hexdigest()


def _opened(file: IO[bytes]) -> zipfile.ZipFile:
    _check_directory(file)
    try:
        return zipfile.ZipFile(file)
    except _DAMAGED:
        raise PackageError(_("The file is no zip archive.")) from None


def _check_directory(file: IO[bytes]) -> None:
    """Refuse a long directory before `zipfile` makes an object of each entry.

    It reads as many bytes as the end of the file names, whatever their number is said
    to be. Looks for the end where `zipfile` does.
    """
    tail = _tail(file)
    at = len(tail) - _END.size
    if at < 0 or tail[at : at + 4] != _END_SIGNATURE or tail[-2:] != b"\0\0":
        at = tail.rfind(_END_SIGNATURE)
    is_wide = tail[max(at - _LOCATOR_BYTES, 0) :].startswith(_LOCATOR_SIGNATURE)
    if at < 0 or len(tail) - at < _END.size or is_wide:
        raise PackageError(_("The file is no zip archive."))
    _signature, _disk, _start, _here, count, size, *_rest = _END.unpack_from(tail, at)
    if count > MEMBERS or size > _DIRECTORY_BYTES:
        raise PackageError(_("The archive has more than 5,000 files."))


def _tail(file: IO[bytes]) -> bytes:
    size = file.seek(0, 2)
    file.seek(max(0, size - _COMMENT_BYTES - _END.size - _LOCATOR_BYTES))
    tail = file.read()
    file.seek(0)
    return tail


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    if len(members) > MEMBERS:
        raise PackageError(_("The archive has more than 5,000 files."))
    if sum(member.file_size for member in members) > UNPACKED_BYTES:
        raise PackageError(_("The files of the archive are over 200 MB."))
    names = [PurePosixPath(member.filename) for member in members]
    if len({str(name).casefold() for name in names}) != len(names):
        raise PackageError(_("The archive has two files of one name."))
    return members


def _check_member(member: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        text = _("%(name)s is neither a file nor a folder.")
        raise PackageError(text % {"name": member.filename[:200]})
    if member.flag_bits & 0x1:
        raise PackageError(_("The archive is encrypted."))
    if member.compress_type not in _METHODS:
        text = _("%(name)s is packed in a way that this host does not take.")
        raise PackageError(text % {"name": member.filename[:200]})
    if member.file_size > RATIO * member.compress_size + _SLACK:
        text = _("%(name)s is packed more tightly than any honest file.")
        raise PackageError(text % {"name": member.filename[:200]})
    try:
        member_path(Path("/"), member.filename)
    except PathRefusedError as error:
        raise PackageError(str(error)) from None


def _copy(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: Path, left: int
) -> int:
    """Write one file; returns its size, never more than the archive names for it."""
    written, allowed = 0, min(left, member.file_size)
    try:
        with archive.open(member) as source, place.open("xb") as file:
            place.chmod(0o600)
            while chunk := source.read(_CHUNK):
                written += len(chunk)
                if written > allowed:
                    raise PackageError(_("The archive unpacks to more than it says."))
                file.write(chunk)
    except _DAMAGED as error:
        raise PackageError(_damaged(member.filename, error)) from None
    return written


def _damaged(name: str, error: Exception) -> str:
    text = _("%(name)s cannot be unpacked: %(problem)s")
    return text % {"name": name[:200], "problem": type(error).__name__}


def _read(archive: zipfile.ZipFile, name: str) -> str:
    try:
        with archive.open(name) as file:
            content = file.read(MANIFEST_BYTES + 1)
    except KeyError:
        raise PackageError(_("The archive has no %s.") % name) from None
    except _DAMAGED as error:
        raise PackageError(_damaged(name, error)) from None
    if len(content) > MANIFEST_BYTES:
        raise PackageError(_("%s is over 64 KB.") % name)
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise PackageError(_("%s is not UTF-8.") % name) from None


class _PlainLoader(yaml.SafeLoader):
    """Refuses aliases: a few lines of them unfold to gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)


def _manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    try:
        # A subclass of the safe loader.
        manifest = yaml.load(_read(archive, MANIFEST), Loader=_PlainLoader)  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError):
        raise PackageError(_("manifest.yaml is no valid YAML.")) from None
    if not isinstance(manifest, dict) or manifest.get("kind") != "Plugin":
        raise PackageError(_("manifest.yaml is not of the kind Plugin."))
    return manifest


def _word(metadata: dict[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    try:
        value = str(metadata.get(key, ""))
    except ValueError:  # a number of thousands of digits
        value = ""
    if not pattern.fullmatch(value) or ".." in value:
        text = _("manifest.yaml: metadata.%(key)s is missing or has other characters.")
        raise PackageError(text % {"key": key})
    return value


def _check_requirements(archive: zipfile.ZipFile) -> None:
    """Refuse options of pip: they would choose the registry, or read files of ours."""
    if REQUIREMENTS not in archive.namelist():
        return
    lines = _read(archive, REQUIREMENTS).removeprefix("\ufeff").splitlines()
    if any(_names_encoding(line) for line in lines):
        raise PackageError(_("%s is not UTF-8.") % REQUIREMENTS)
    wanted = [words for words in map(_requirement, lines) if words]
    if len(wanted) > _MOST_REQUIREMENTS:
        raise PackageError(_("requirements.txt names more than 200 packages."))
    for words in wanted:
        if not _is_of_registry(words):
            text = _("requirements.txt may only name packages of the registry: %s")
            raise PackageError(text % " ".join(words)[:200])


def _names_encoding(line: str) -> bool:
    return line.startswith("#") and _ENCODING.search(line) is not None


def _requirement(line: str) -> list[str]:
    """Return the words of a line as pip reads it: without its comment."""
    return list(takewhile(lambda word: not word.startswith("#"), line.split()))


def _is_of_registry(words: list[str]) -> bool:
    """Whether pip asks the registry for it: no option, address, folder, variable."""
    line = " ".join(words)
    if len(line) > _REQUIREMENT_CHARACTERS or "$" in line:
        return False
    try:
        return Requirement(line).url is None
    except InvalidRequirement:
        return False
