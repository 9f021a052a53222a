"""Files that come in with a message: stored before the run, put back for the runner.

What an event, a transcript or a ledger keeps never holds a file's bytes (LB-89); it
holds the id of an artifact. Addresses are noted, never fetched (C-22).
"""

import logging
from dataclasses import dataclass, field
from typing import Any

from artifacts import blobs
from artifacts.encoding import (
    MIME_TYPE,
    PayloadError,
    as_data_url,
    decode_payload,
    is_data_url,
)
from artifacts.models import Artifact
from artifacts.store import (
    ArtifactMissingError,
    Named,
    claim_for,
    find_artifact,
    open_artifact,
)
from langbot.core.models import Workspace
from langbot.lib.ids import uuid7
from langbot.lib.prepared import PreparedInsert

logger = logging.getLogger(__name__)

INPUT_BYTES = 10 * 1024 * 1024  # one file (C-21)
INPUT_FILES = 20  # of one message (AG-05)
REFERENCE_LENGTH = 1000  # the column's
# Base64 of this fits into one 16 MiB frame beside the rest of a context.
INLINE_BYTES = 10 * 1024 * 1024

_KINDS = {
    "image_base64": "image",
    "image_url": "image",
    "file_base64": "file",
    "file_url": "file",
}
_OURS = ("artifact_id", "content_redacted", "error")  # never sent to a runner
_ATTACHMENT_FIELDS = ("ref", "type", "mime_type", "size", "name", "source", "url", "id")

Element = dict[str, Any]

_insert = PreparedInsert(Artifact)


@dataclass(slots=True)
class StoredInput:
    """An input without bytes, which are stored, and the rows that its files will get.

    Elements name those rows, or what their sender says is an artifact.
    """

    workspace: Workspace
    input: dict[str, Any]
    rows: list[Artifact] = field(default_factory=list)


def store_inputs(workspace: Workspace, input: dict[str, Any]) -> StoredInput:
    """Store every inline payload of an input; `register_inputs` takes the result.

    Call before the transaction that admits the event: a disk may be slow. Without
    their rows bytes are orphans, which the sweep removes. A file that cannot be stored
    keeps its place with an `error` code; the message itself is never refused.
    """
    storing = _Storing(workspace)
    result = dict(input)
    if "contents" in input:
        result["contents"] = [
            storing.content(element) for element in _mappings(input["contents"])
        ]
    if "attachments" in input:
        result["attachments"] = [
            storing.attachment(given) for given in _mappings(input["attachments"])
        ]
    return StoredInput(workspace, result, storing.rows)


def register_inputs(conversation: Named | None, stored: StoredInput) -> dict[str, Any]:
    """Insert the rows of stored files; returns the input as events keep it.

    Call inside the transaction that admits the event. An artifact that the sender
    named, and may not, is left out with an `error` code.
    """
    for row in stored.rows:
        row.conversation_id_ref = conversation.public_id if conversation else None
    _insert(stored.rows)
    own = {str(row.public_id) for row in stored.rows}
    result = dict(stored.input)
    for name in ("contents", "attachments"):
        if name in result:
            result[name] = [
                _registered(one, own, stored.workspace, conversation)
                for one in result[name]
            ]
    return result


def restore_input(stored: dict[str, Any]) -> dict[str, Any]:
    """Return a stored event's input as a runner takes it, contents and attachments.

    Files that are gone or too much for one frame become a text element saying so.
    """
    restorer = _Restorer()
    return {
        **stored,
        "contents": restorer.contents(stored.get("contents") or []),
        "attachments": restorer.attachments(stored.get("attachments") or []),
    }


@dataclass(slots=True)
class _Storing:
    """Stores the files of one message."""

    workspace: Workspace
    rows: list[Artifact] = field(default_factory=list)
    stored: int = 0

    def content(self, element: Element) -> Element:
        """Return one content element without bytes."""
        field_name = str(element.get("type") or "")
        kind = _KINDS.get(field_name)
        if kind is None:
            return _without(element, *_KINDS, *_OURS)
        payload = element.get(field_name)
        if field_name == "image_url" and isinstance(payload, dict):
            payload = payload.get("url")
        kept = _without(element, *_OURS, *(set(_KINDS) - {field_name}))
        name = str(element.get("file_name") or "")
        inline = field_name.endswith("_base64") or is_data_url(payload)
        if payload and inline:
            kept[field_name] = {"url": ""} if field_name == "image_url" else ""
            return kept | self._store(payload, kind, name, "")
        return kept | _named(element)

    def attachment(self, given: Element) -> Element:
        """Return one attachment without bytes; it always has an id (LB-15)."""
        # A path would be a file of this host, which no sender may name.
        kept = _without(given, *_OURS, "content", "base64", "path")
        kept["id"] = str(given.get("id") or uuid7())
        kept["type"] = kind = str(given.get("type") or "file")[:50]
        name = str(given.get("name") or "")
        payload, url = given.get("content") or given.get("base64"), given.get("url")
        if not payload and is_data_url(url):
            payload, kept["url"] = url, ""
        if payload:
            mime_type = str(given.get("mime_type") or "")
            return kept | self._store(payload, kind, name, mime_type)
        return kept | (_named(given) or self._reference(kept))

    def _store(self, payload: Any, kind: str, name: str, mime_type: str) -> Element:
        try:
            if self.stored >= INPUT_FILES:
                raise PayloadError("too_many")
            decoded = decode_payload(str(payload), INPUT_BYTES, mime_type)
            digest = _written(decoded.data)
        except PayloadError as error:
            logger.warning("an input file was not stored: %s", error.code)
            return {"content_redacted": True, "error": error.code}
        self.stored += 1
        artifact = self._row(
            type=kind[:50],
            mime_type=decoded.mime_type[:150],
            name=name[:255],
            size=len(decoded.data),
            sha256=digest,
            storage=Artifact.Storage.BLOB,
        )
        return _described(artifact) | {"content_redacted": True}

    def _reference(self, attachment: Element) -> Element:
        storage, reference = _target(attachment)
        mime_type = str(attachment.get("mime_type") or "")
        size = attachment.get("size")
        artifact = self._row(
            type=attachment["type"],
            mime_type=mime_type if MIME_TYPE.fullmatch(mime_type) else "",
            name=str(attachment.get("name") or "")[:255],
            size=size if isinstance(size, int) and 0 <= size < 2**53 else 0,
            storage=storage,
            reference=reference,
        )
        return {"artifact_id": str(artifact.public_id)}

    def _row(self, **fields: Any) -> Artifact:
        source = Artifact.Source.PLATFORM
        row = Artifact(workspace=self.workspace, source=source, **fields)
        self.rows.append(row)
        return row


def _written(data: bytes) -> str:
    try:
        return blobs.write(data)
    except OSError as error:
        logger.exception("the bytes of an input file were not stored")
        raise PayloadError("not_stored") from error


def _named(element: Element) -> Element:
    """Return the id of the file that a sender says is here already."""
    return {"artifact_id": element["artifact_id"]} if "artifact_id" in element else {}


def _registered(
    element: Element, own: set[str], workspace: Workspace, conversation: Named | None
) -> Element:
    if "artifact_id" not in element or str(element["artifact_id"]) in own:
        return element
    kept = _without(element, "artifact_id")
    return kept | _known(workspace, conversation, element["artifact_id"])


def _known(
    workspace: Workspace, conversation: Named | None, artifact_id: Any
) -> Element:
    """Accept an id only where its sender could see the file.

    An upload that no conversation has yet becomes this one's: its runs may read
    it then, and those of others may not.
    """
    try:
        artifact = find_artifact(workspace, artifact_id)
    except ArtifactMissingError:
        return {"error": "unknown_artifact"}
    if not claim_for(artifact, conversation):
        return {"error": "unknown_artifact"}
    described = _described(artifact)
    if artifact.storage == Artifact.Storage.BLOB:
        described["content_redacted"] = True  # so that runners get the bytes
    return described


@dataclass(slots=True)
class _Restorer:
    """Puts files back into one context, up to what a frame can hold."""

    left: int = field(default=INLINE_BYTES)

    def contents(self, contents: list[Element]) -> list[Element]:
        """Return the elements with their payloads."""
        return [self._content(element) for element in contents]

    def attachments(self, attachments: list[Element]) -> list[Element]:
        """Return them in the fields runners know; `ref` names the artifact."""
        return [self._attachment(given) for given in attachments]

    def _content(self, element: Element) -> Element:
        kept = _without(element, *_OURS)
        if "error" in element or "artifact_id" not in element:
            return _gone(element) if "error" in element else kept
        read = self._read(str(element["artifact_id"]))
        if read is None:
            return _gone(element)
        field_name, url = str(element["type"]), as_data_url(*read)
        kept[field_name] = {"url": url} if field_name == "image_url" else url
        return _without(kept, "size", "mime_type")

    def _attachment(self, given: Element) -> Element:
        kept = {name: given[name] for name in _ATTACHMENT_FIELDS if name in given}
        artifact_id = given.get("artifact_id")
        if artifact_id is None:
            return kept
        kept.setdefault("ref", str(artifact_id))
        read = self._read(str(artifact_id)) if given.get("content_redacted") else None
        if read is not None:
            kept |= {"content": as_data_url(*read), "source": "base64"}
        return kept

    def _read(self, artifact_id: str) -> tuple[bytes, str] | None:
        artifact = Artifact.objects.filter(public_id=artifact_id).first()
        if artifact is None or artifact.size > self.left:
            return None
        try:
            with open_artifact(artifact) as file:
                data = file.read()
        except ArtifactMissingError:
            return None
        self.left -= len(data)
        return data, artifact.mime_type


def _target(attachment: Element) -> tuple[str, str]:
    url, ref = str(attachment.get("url") or ""), str(attachment.get("ref") or "")
    if url.lower().startswith(("http://", "https://")) and len(url) <= REFERENCE_LENGTH:
        return Artifact.Storage.URL, url
    if ref:
        return Artifact.Storage.PLATFORM_REF, ref[:REFERENCE_LENGTH]
    return Artifact.Storage.METADATA_ONLY, ""


def _described(artifact: Artifact) -> Element:
    return {
        "artifact_id": str(artifact.public_id),
        "mime_type": artifact.mime_type,
        "size": artifact.size,
    }


def _gone(element: Element) -> Element:
    name = str(element.get("file_name") or element["type"])
    return {"type": "text", "text": f"[{name}: not available]"}


def _mappings(value: Any) -> list[Element]:
    given = value if isinstance(value, list) else []
    return [dict(item) for item in given if isinstance(item, dict)]


def _without(element: Element, *names: str) -> Element:
    return {key: value for key, value in element.items() if key not in names}
