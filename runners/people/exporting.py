"""Everything that this host has of a person, as one zip file."""

import json
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
    files_of,
    limits_of,
    states_of,
    stored_values_of,
    traces_of,
    usage_of,
)

_CHUNK = 1024 * 1024


def export_person(person: Person, to: BinaryIO) -> dict[str, int]:
    """Write a zip of what there is of a person; returns how many rows by name.

    `<name>.jsonl` has a JSON object per line and row, secrets masked; `files/` has
    the bytes that are held here; `person.json` says who, when and how many. Reads
    only. What others wrote in shared conversations is left out.
    """
    found = find_holdings(person)
    counts: dict[str, int] = {}
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, rows in _everything(found):
            counts[name] = _write_rows(archive, f"{name}.jsonl", rows)
        counts["files"] = _write_files(archive, found)
        archive.writestr("person.json", _summary(person, counts))
    return counts


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
    yield "audit", entries_about(traces_of(found))


def _of_runs(found: Holdings, model: Any) -> Iterator[Any]:
    for part in parts(found.keys["runs"]):
        yield from model.objects.filter(run__in=part).order_by("pk").iterator(500)


def _write_rows(archive: zipfile.ZipFile, name: str, rows: Iterable[Any]) -> int:
    count = 0
    with archive.open(name, "w", force_zip64=True) as file:
        for row in rows:
            line = json.dumps(_readable(row), ensure_ascii=False)
            file.write(line.encode() + b"\n")
            count += 1
    return count


def _readable(row: Any) -> dict[str, Any]:
    """Return a row's columns; bytes become text, which JSON can hold."""
    if hasattr(row, "value") and isinstance(row.value, bytes | memoryview):
        row.value = bytes(row.value).decode("utf-8", "backslashreplace")
    return state_of(row)


def _write_files(archive: zipfile.ZipFile, found: Holdings) -> int:
    written: set[int] = set()
    for page in files_of(found):
        for file in page:
            if file.pk not in written and _write_file(archive, file):
                written.add(file.pk)
    return len(written)


def _write_file(archive: zipfile.ZipFile, file: Artifact) -> bool:
    name = (file.name or "file").replace("/", "_")
    try:
        source = open_artifact(file)
    except ArtifactMissingError:
        return False  # expired, or held elsewhere
    with source, archive.open(f"files/{file.public_id}/{name}", "w") as target:
        while chunk := source.read(_CHUNK):
            target.write(chunk)
    return True
