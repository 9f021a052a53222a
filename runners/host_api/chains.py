"""Message chains of released SDKs: lists of components (`Plain`, `At`, `Image`, …)."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from runners.protocol.errors import ErrorCode, ProtocolError

_COMPONENTS: Final = 200
_FILES: Final = 20  # as of one message that comes in (AG-05)
_FILE_BYTES: Final = 1024 * 1024  # of one that travels in the chain (LB-59)
_TYPES: Final = {"Image": "image", "Voice": "voice", "File": "file"}
_BYTES: Final = ("base64", "file_base64")


@dataclass(slots=True)
class ChainFile:
    """A file that travelled in a chain."""

    type: str
    name: str
    mime_type: str
    content: bytes = field(repr=False)


@dataclass(slots=True)
class Chain:
    """A chain as platforms get it: its bytes are files, its text is plain."""

    text: str = ""
    components: list[dict[str, Any]] = field(default_factory=list)
    files: list[ChainFile] = field(default_factory=list)


def read_chain(components: Sequence[Any]) -> Chain:
    """Return what a chain says; raises ProtocolError for what is none."""
    if len(components) > _COMPONENTS:
        raise _too_large(f"message: at most {_COMPONENTS} components")
    chain = Chain()
    for number, component in enumerate(components):
        if not isinstance(component, Mapping) or not isinstance(
            component.get("type"), str
        ):
            raise _invalid(f"message.{number}: a component is an object with a type")
        _add(chain, component, number)
    return chain


def _add(chain: Chain, component: Mapping[str, Any], number: int) -> None:
    chain.text += _text(component)
    kept = {
        key: value
        for key, value in component.items()
        if key not in _BYTES and value is not None
    }
    encoded = next((component[key] for key in _BYTES if component.get(key)), None)
    if encoded is not None and component["type"] in _TYPES:
        kept["file_index"] = len(chain.files)
        chain.files.append(_file(component, str(encoded), number))
        if len(chain.files) > _FILES:
            raise _too_large(f"message: at most {_FILES} files")
    chain.components.append(kept)


def _text(component: Mapping[str, Any]) -> str:
    kind = component["type"]
    if kind in {"Plain", "Unknown"}:
        return str(component.get("text") or "")
    if kind == "At":
        return f"@{component.get('display') or component.get('target') or ''} "
    return "@all " if kind == "AtAll" else ""


def _file(component: Mapping[str, Any], encoded: str, number: int) -> ChainFile:
    head, comma, payload = encoded.partition(",")
    is_url = bool(comma) and head.startswith("data:")
    mime_type = head.removeprefix("data:").partition(";")[0] if is_url else ""
    payload = payload if is_url else encoded
    if len(payload) > (_FILE_BYTES + 2) // 3 * 4:
        raise _too_large(f"message.{number}: a file in a chain has at most 1 MiB")
    try:
        content = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        raise _invalid(f"message.{number}: it is not base64") from None
    name = str(component.get("name") or component.get("file_name") or "")[:255]
    return ChainFile(_TYPES[component["type"]], name, mime_type, content)


def _too_large(message: str) -> ProtocolError:
    return ProtocolError(ErrorCode.TOO_LARGE, message)


def _invalid(message: str) -> ProtocolError:
    return ProtocolError(ErrorCode.INVALID_REQUEST, message)
