"""The files of one run: made by its runner, or texts too large for the ledger."""

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
_SIZE = 2**53  # no column and no client takes more


class FileRefusedError(ValueError):
    """The file is not kept; the message is safe to show."""


class RunFiles:
    """What a run has made so far, and what of it is not written yet."""

    def __init__(self, facts: RunFacts) -> None:
        self._facts = facts
        self._waiting: list[MadeFile] = []
        self.references: list[dict[str, Any]] = []

    def __bool__(self) -> bool:
        return bool(self.references)

    def resume(self, described: list[dict[str, Any]]) -> None:
        """Go on where another worker stopped."""
        self.references = [reference_of(one) for one in described]

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
        described = file.described()
        self.references.append(reference_of(described))
        return described


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
