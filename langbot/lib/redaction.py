"""Take secrets and inline payloads out of what is stored, logged or shown."""

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(
    "secret|token|key|password|passwd|credential|authorization", re.IGNORECASE
)  # LB-14
_PAYLOAD_NAMES = frozenset({"image_base64", "file_base64", "content_base64"})  # LB-89
_COUNT_NAME = re.compile(r"tokens(_details)?$", re.IGNORECASE)
_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)


def looks_secret(name: str) -> bool:
    """Say whether a key or variable of this name is taken for a secret (LB-14)."""
    return _SECRET_NAME.search(name) is not None


def redact(value: Any) -> Any:
    """Return a copy without secrets and without inline base64.

    Values of secret-looking keys become `REDACTED`. `image_base64`, `file_base64`, an
    attachment's `content` and base64 data URLs are emptied and the mapping around them
    gets `content_redacted: true` (LB-14, LB-89). Numbers under names ending in
    `tokens` are counts and stay.
    """
    return _redact(value, in_attachment=False)


def redact_secrets(value: Any) -> Any:
    """Return a copy without the values of secret-looking keys (LB-14)."""
    if isinstance(value, Mapping):
        return {
            key: REDACTED if _hides(key, item) else redact_secrets(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_secrets(item) for item in value]
    return value


def _redact(value: Any, *, in_attachment: bool) -> Any:
    if isinstance(value, Mapping):
        return _redact_mapping(value, in_attachment=in_attachment)
    if isinstance(value, list | tuple):
        return [_redact(item, in_attachment=in_attachment) for item in value]
    if isinstance(value, str) and (match := _DATA_URL.match(value)):
        return match[0]
    return value


def _redact_mapping(
    mapping: Mapping[Any, Any], *, in_attachment: bool
) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    emptied = False
    for key, item in mapping.items():
        if _hides(key, item):
            result[key] = REDACTED
        elif item and (
            key in _PAYLOAD_NAMES or (in_attachment and key in {"content", "base64"})
        ):
            result[key] = ""
            emptied = True
        else:
            result[key] = _redact(item, in_attachment=key == "attachments")
            emptied = emptied or (isinstance(item, str) and result[key] != item)
    if emptied:
        result["content_redacted"] = True
    return result


def _hides(key: Any, item: Any) -> bool:
    if not isinstance(key, str) or item in (None, "") or not looks_secret(key):
        return False
    return not (isinstance(item, bool) or _is_count(key, item))


def _is_count(key: str, item: Any) -> bool:
    if not _COUNT_NAME.search(key):
        return False
    numbers = item.values() if isinstance(item, Mapping) else [item]
    return all(isinstance(number, int | float) for number in numbers)
