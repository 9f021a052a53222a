"""JSON values that every database can keep."""

import math
import re
from typing import Any

# PostgreSQL refuses U+0000 in text and jsonb; a lone surrogate has no UTF-8 form.
# JSON may carry both, so they reach us from outside.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(value: Any) -> Any:
    """Return a JSON value with U+FFFD for such characters, null for no-numbers."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, float) and not math.isfinite(value):
        return None  # 1e999 in JSON text is infinite, which JSON cannot write
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value
