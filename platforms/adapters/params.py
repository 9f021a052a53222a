"""What a platform may tell a runner beside the event (LB-14)."""

import json
from collections.abc import Mapping
from typing import Any

from langbot.lib.redaction import looks_secret

_MAXIMUM_BYTES = 64 * 1024


def safe_params(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables without private, secret-looking and non-JSON ones."""
    return {
        name: value
        for name, value in variables.items()
        if isinstance(name, str)
        and not name.startswith("_")
        and not looks_secret(name)
        and _is_json(value)
    }


def _is_json(value: Any) -> bool:
    try:
        return len(json.dumps(value, allow_nan=False)) <= _MAXIMUM_BYTES
    except (TypeError, ValueError, RecursionError):
        return False
