"""Everything that this host has of a person, as one zip file."""

import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO

from artifacts.models import Artifact
from artifacts.store import ArtifactMissingError, open_artifact
from langbot.core.audit import state_of
from langbot.core.audit_erasing import entries_about
from runners.models import ClientCall, HostCall, RunEvent
from runners.people.persons import MODELS, Holdings, Person, find_holdings, parts
from runners.people.traces import (
    audited_in,
    files_of,
    limits_of,
    states_of,
    stored_values_of,
    traces_of,
    usage_of,
)

_CHUNK = 1024 * 1024
_PIECE = 64 * 1024  # of the zip, sent together
# What systems of those who unpack it take for more than a part of a name.
_NO_NAME = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


def export_person(person: Person, to: BinaryIO) -> dict[str, int]:
    """Write a zip of what there is of a person; returns how many rows by name.

    `<name>.jsonl` has a JSON object per line and row, secrets masked; `files/` has
    the bytes that are held here; `person.json` says who, when and how many. Reads
    only. What others wrote in shared conversations is left out.
    """
    counts: dict[str, int] = {}
    for part in export_parts(person, counts):
        to.write(part)
    return counts


def export_parts(person: Person, counts: dict[str, int]) -> Iterator[bytes]:
    """Yield that zip piece by piece, no more of it in memory than a piece.

    `counts` has how many rows by name once the last piece is there.
    """
    found, sink = find_holdings(person), _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, rows in _everything(found):
            counts[name] = 0
            for written in _write_rows(archive, f"{name}.jsonl", rows):
                counts[name] += written
                yield from sink.pieces()
        counts["files"] = 0
        for written in _write_files(archive, found):
            counts["files"] += written
            yield from sink.pieces()
        archive.writestr("person.json", _summary(person, counts))
    yield from sink.pieces(0)


class _Sink:
    """What the zip is written to: handed on as it grows, and forgotten."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self._size += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """The zip is over; what is left is still handed on."""

    def pieces(self, least: int = _PIECE) -> Iterator[bytes]:
        """Yield what was written since, once it is worth sending."""
        if self._size > least:
            yield b"".join(self._parts)
            self._parts, self._size = [], 0


def _summary(person: Person, counts: dict[str, int]) -> str:
    place = person.workspace.slug if person.workspace else None
    who = {
        "actor": person.actor_id,
        "bot": str(person.bot_id) if person.bot_id else None,
        "user": person.username or None,
        "workspace": place,
        "made_at": datetime.now(UTC).isoformat(),
        "rows": counts,
    }
    return json.dumps(who, indent=2, ensure_ascii=False)


def _everything(found: Holdings) -> Iterator[tuple[str, Iterable[Any]]]:
    for name in MODELS:
        yield name, (row for page in found.pages(name) for row in page)
    yield "run_events", _of_runs(found, RunEvent)
    yield "host_calls", _of_runs(found, HostCall)
    yield "client_calls", _of_runs(found, ClientCall)
    yield "state", states_of(found).iterator(500)
    yield "stored_values", stored_values_of(found).iterator(50)
    yield "usage", usage_of(found).iterator(500)
    yield "limits", (row for rows in limits_of(found.person) for row in rows)
    yield "artifacts", (file for page in files_of(found) for file in page)
    yield "audit", entries_about(traces_of(found), audited_in(found.person))


def _of_runs(found: Holdings, model: Any) -> Iterator[Any]:
    for part in parts(found.keys["runs"]):
        yield from model.objects.filter(run__in=part).order_by("pk").iterator(500)


def _write_rows(
    archive: zipfile.ZipFile, name: str, rows: Iterable[Any]
) -> Iterator[int]:
    """Write a line for each row; yields 1 after each."""
    with archive.open(name, "w", force_zip64=True) as file:
        for row in rows:
            line = json.dumps(_readable(row), ensure_ascii=False)
            file.write(line.encode() + b"\n")
            yield 1


def _readable(row: Any) -> dict[str, Any]:
    """Return a row's columns; bytes become text, which JSON can hold."""
    if hasattr(row, "value") and isinstance(row.value, bytes | memoryview):
        row.value = bytes(row.value).decode("utf-8", "backslashreplace")
    return state_of(row)


def _write_files(archive: zipfile.ZipFile, found: Holdings) -> Iterator[int]:
    """Write each file once; yields 0 after each chunk, 1 after each file."""
    written: set[int] = set()
    for page in files_of(found):
        for file in page:
            if file.pk not in written:
                written.add(file.pk)
                yield from _write_file(archive, file)


def _write_file(archive: zipfile.ZipFile, file: Artifact) -> Iterator[int]:
    name = _NO_NAME.sub("_", file.name).strip(" .") or "file"
    try:
        source = open_artifact(file)
    except ArtifactMissingError:
        return  # expired, or held elsewhere
    inside = f"files/{file.public_id}/{name}"
    with source, archive.open(inside, "w", force_zip64=True) as target:
        while chunk := source.read(_CHUNK):
            target.write(chunk)
            yield 0
    yield 1
