"""A message as a model reads it: its words, and the files that came with it."""

import base64
import binascii
from typing import Any

from runners.protocol.context import InputAttachment, RunInput

TEXT_CHARACTERS = 50_000  # of one file; a longer one is cut, and says so
_TEXTS = ("text/", "application/json", "application/xml", "application/yaml")


def parts_of(given: RunInput, words: str) -> list[dict[str, Any]]:
    """Return the parts of a message that is more than words; none of one that is not.

    Pictures and texts are shown as such, other files by name: a model that cannot read
    a file knows of it.
    """
    elements = [element.model_dump() for element in given.contents]
    files = [_element(file) for file in given.attachments]
    if files or any(element["type"] != "text" for element in elements):
        return [*(elements or text_part(words)), *files]
    return []


def text_part(words: str) -> list[dict[str, Any]]:
    """Return words as a part of a message; nothing where there are none."""
    return [{"type": "text", "text": words}] if words else []


def _element(file: InputAttachment) -> dict[str, Any]:
    kind = file.mime_type or ""
    if file.content and kind.startswith("image/"):
        return {"type": "image_base64", "image_base64": file.content}
    return {"type": "text", "text": _told(file, kind)}


def _told(file: InputAttachment, kind: str) -> str:
    about = {"name": file.name, "type": kind, "size": file.size, "url": file.url}
    shown = " ".join(
        f'{key}="{_plain(value)}"' for key, value in about.items() if value
    )
    text = _text(file) if kind.startswith(_TEXTS) else None
    if text is None:
        return f"<file {shown}>not shown</file>"
    cut = "\n[cut]" if len(text) > TEXT_CHARACTERS else ""
    return f"<file {shown}>\n{text[:TEXT_CHARACTERS]}{cut}\n</file>"


def _plain(value: Any) -> str:
    return " ".join(str(value).replace('"', "'").split())


def _text(file: InputAttachment) -> str | None:
    """Return what a text file says; None when it is not here, or is no UTF-8."""
    encoded = (file.content or "").partition(";base64,")[2]
    try:
        return base64.b64decode(encoded, validate=True).decode() if encoded else None
    except (binascii.Error, UnicodeDecodeError):
        return None
