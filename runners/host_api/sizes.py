"""How large a field of a host call, or its answer, may be.

The checks of fields raise `too_large`; answers are cut, since they did happen.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic_core import from_json, to_json

from langbot.lib.conf import limits
from runners.ledger.state_store import StateRefusedError, check_size
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.results import MAX_PAYLOAD_BYTES

# Of a result that is too large, as of runners' (LB-57).
_KEPT_CHARACTERS: Final = 10_000


def check_state_value(value: Any) -> None:
    """A state value has at most 256 KiB of JSON, with finite numbers."""
    try:
        check_size(value)
    except StateRefusedError as error:
        raise ProtocolError(ErrorCode.TOO_LARGE, str(error)) from None


def check_base64(encoded: Any) -> None:
    """A stored value has at most 10 MiB once it is decoded."""
    maximum = limits().storage_value_bytes
    if isinstance(encoded, str) and len(encoded) > (maximum + 2) // 3 * 4:
        raise _too_large(f"a stored value has at most {maximum} bytes")


def bounded(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result as JSON has it; of one over 1 MiB the beginning.

    That is `{"truncated": true, "size": bytes, "text": str}`. What JSON cannot spell
    becomes text (dates) or null (NaN).
    """
    text = _json(result)
    if len(text) <= MAX_PAYLOAD_BYTES:
        return dict(from_json(text))
    beginning = text[: 4 * _KEPT_CHARACTERS].decode(errors="ignore")
    return {"truncated": True, "size": len(text), "text": beginning[:_KEPT_CHARACTERS]}


def as_many_as_fit(hits: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the first hits as JSON has them, up to 1 MiB in all."""
    kept, left = [], MAX_PAYLOAD_BYTES
    for hit in hits:
        text = _json(hit)
        left -= len(text)
        if left < 0:
            break
        kept.append(dict(from_json(text)))
    return kept


def _json(result: Mapping[str, Any]) -> bytes:
    return to_json(result, inf_nan_mode="null", fallback=str)


def _too_large(message: str) -> ProtocolError:
    return ProtocolError(ErrorCode.TOO_LARGE, message)
