"""Strict base64 with a size cap, plain or as a data URL."""

import base64
import binascii
import re
from dataclasses import dataclass

_DATA_URL = re.compile(
    r"data:(?P<mime>[\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,]{0,100})*;base64,", re.ASCII
)
MIME_TYPE = re.compile(r"[\w.+-]{1,70}/[\w.+-]{1,70}", re.ASCII)
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
)
_RECOGNISED = {"image/webp", *(mime_type for _, mime_type in _SIGNATURES)}
UNKNOWN_TYPE = "application/octet-stream"
# Shown in place: formats that no browser runs anything of.
SHOWN_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


class PayloadError(ValueError):
    """An inline payload that cannot be stored; `code` says why."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


@dataclass(frozen=True, slots=True)
class Payload:
    """Decoded bytes and what they are."""

    data: bytes
    mime_type: str


def is_data_url(value: object) -> bool:
    """Whether the value carries its bytes itself."""
    return isinstance(value, str) and value[:5].lower() == "data:"


def decode_payload(value: str, maximum: int, mime_type: str = "") -> Payload:
    """Decode base64 or a base64 data URL of at most `maximum` bytes.

    Raises PayloadError: `invalid_base64` or `too_large`.
    """
    given, encoded = mime_type, value
    if is_data_url(value):
        match = _DATA_URL.match(value)
        if match is None:
            raise PayloadError("invalid_base64")
        given, encoded = match["mime"] or mime_type, value[match.end() :]
    if len(encoded) > (maximum + 2) // 3 * 4:
        raise PayloadError("too_large")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise PayloadError("invalid_base64") from None
    if not data:
        raise PayloadError("invalid_base64")
    if len(data) > maximum:
        raise PayloadError("too_large")
    return Payload(data, checked_type(given, data))


def checked_type(given: str, data: bytes) -> str:
    """Return the given MIME type unless the bytes say that it is another one.

    A file that begins like an image is one, whatever it is called; one that only
    claims to be an image, or a PDF, is of no known type.
    """
    seen = _seen_type(data)
    if seen is not None:
        return seen
    claimed = given.lower() if MIME_TYPE.fullmatch(given) else UNKNOWN_TYPE
    return UNKNOWN_TYPE if claimed in _RECOGNISED else claimed


def _seen_type(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    for signature, mime_type in _SIGNATURES:
        if data.startswith(signature):
            return mime_type
    return None


def as_data_url(data: bytes, mime_type: str) -> str:
    """Return the bytes in the form that runners of every SDK generation take."""
    kind = mime_type or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
