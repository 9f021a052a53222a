"""The files of one run: made by its runner, or texts too large for the ledger."""

import asyncio
from collections.abc import Iterable
from mimetypes import guess_type
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from artifacts.encoding import MIME_TYPE
from artifacts.made import MadeFile, reference_of, with_content
from artifacts.models import Artifact
from langbot.lib.conf import limits
from langbot.lib.redaction import redact
from runners.engine.snapshot import RunFacts
from runners.protocol.results import ArtifactCreated

_TYPE_LENGTH, _NAME_LENGTH, _MIME_LENGTH = 50, 255, 150
_METADATA_KEY: Final = "runner_artifact_id"
_TRANSFER_KEY: Final = "transfer_key"
_NAMES: Final = (_METADATA_KEY, _TRANSFER_KEY)
_SIZE = 2**53  # no column and no client takes more


class FileRefusedError(ValueError):
    """The file is not kept; the message is safe to show."""


class RunFiles:
    """What a run has made so far, and what of it is not written yet."""

    def __init__(self, facts: RunFacts) -> None:
        self._facts = facts
        self._waiting: list[MadeFile] = []
        self._unwritten: set[str] = set()
        self._was_written = asyncio.Event()
        self._by_name: dict[str, dict[str, Any]] = {}
        self.references: list[dict[str, Any]] = []

    def __bool__(self) -> bool:
        return bool(self.references)

    def resume(self, described: list[dict[str, Any]]) -> None:
        """Go on where another worker stopped."""
        for one in described:
            self._remember(one)

    def find(self, name: str) -> dict[str, Any] | None:
        """Return the file that has this id: ours, the runner's own, or a transfer's."""
        return self._by_name.get(name)

    def named(self, names: Iterable[str]) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the files of these ids, and the ids that no file of the run has."""
        found = {name: self.find(name) for name in names}
        references = [one for one in found.values() if one is not None]
        return references, [name for name, one in found.items() if one is None]

    async def until_written(self, references: Iterable[dict[str, Any]]) -> None:
        """Wait until other processes find these files."""
        wanted = {str(one["artifact_id"]) for one in references}
        while wanted & self._unwritten:
            self._was_written.clear()
            await self._was_written.wait()

    def wrote(self, files: Iterable[MadeFile]) -> None:
        """A batch with these files was committed."""
        self._unwritten -= {str(file.public_id) for file in files}
        self._was_written.set()

    def take(self) -> list[MadeFile]:
        """Return what is to be written with the next batch."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def add(self, created: ArtifactCreated) -> dict[str, Any]:
        """Keep a runner's file; returns what the ledger says of it.

        Its id is ours: the runner's own would let it name the files of others. Raises
        FileRefusedError.
        """
        if not self._facts.access.artifacts:
            message = "this run may not use artifacts"
            raise FileRefusedError(message)
        metadata: dict[str, Any] = redact(created.metadata)
        if created.artifact_id:
            metadata = {**metadata, _METADATA_KEY: created.artifact_id[:_NAME_LENGTH]}
        return self._keep(
            type=created.artifact_type[:_TYPE_LENGTH],
            name=(created.name or "")[:_NAME_LENGTH],
            source=Artifact.Source.RUNNER,
            metadata=metadata,
            **_content(created),
        )

    def add_text(self, text: str, name: str) -> dict[str, Any]:
        """Keep a text whole that the ledger has only the beginning of (C-24)."""
        return self._keep(
            type="text",
            name=name,
            source=Artifact.Source.SYSTEM,
            **with_content(text.encode(), "text/plain"),
        )

    def add_transfer(self, key: str, content: bytes) -> dict[str, Any]:
        """Keep a file that came in slices (wire 2.8); its key is how it is named."""
        if not self._facts.access.artifacts:
            message = "this run may not use artifacts"
            raise FileRefusedError(message)
        suffix = PurePath(key).suffix
        said = guess_type(key)[0] or ""
        return self._keep(
            type="image" if said.startswith("image/") else "file",
            name=f"file{suffix}",
            source=Artifact.Source.RUNNER,
            metadata={_TRANSFER_KEY: key},
            **with_content(content, said),
        )

    def _keep(self, **fields: Any) -> dict[str, Any]:
        most = limits().run_artifacts
        if len(self.references) >= most:
            message = f"a run makes at most {most} files"
            raise FileRefusedError(message)
        facts = self._facts
        file = MadeFile(
            workspace_id=facts.workspace_id,
            conversation_id=UUID(facts.conversation_public_id),
            run_id=facts.public_id,
            **fields,
        )
        self._waiting.append(file)
        self._unwritten.add(str(file.public_id))
        described = file.described()
        self._remember(described)
        return described

    def _remember(self, described: dict[str, Any]) -> None:
        reference = reference_of(described)
        self.references.append(reference)
        metadata = described.get("metadata") or {}
        names = [described["artifact_id"]]
        names += [metadata[key] for key in _NAMES if key in metadata]
        for name in names:
            self._by_name.setdefault(str(name), reference)


def _content(created: ArtifactCreated) -> dict[str, Any]:
    """Return the file's bytes and what they are; what was said of them must be true."""
    content, said = created.content(), created.mime_type or ""
    if content is None:
        return {
            "mime_type": said.lower() if MIME_TYPE.fullmatch(said) else "",
            "size": min(created.size or 0, _SIZE),
            "sha256": (created.sha256 or "")[:64],
        }
    fields = with_content(content, said)
    if created.size not in {None, fields["size"]}:
        message = f"size: {created.size} said, {fields['size']} found"
        raise FileRefusedError(message)
    if (created.sha256 or fields["sha256"]).lower() != fields["sha256"]:
        message = "sha256: it is not that of the content"
        raise FileRefusedError(message)
    return fields
