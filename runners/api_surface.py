"""How what comes by an API is marked: by REST, by OpenAI's routes or from Python."""

from collections.abc import Mapping
from typing import Any, Final

TRIGGER: Final = "api"  # C-19
DELIVERY: Final[Mapping[str, Any]] = {
    "surface": "api",
    "automatic_reply": True,
    "supports_streaming": True,
    "supports_edit": False,
    "supports_reaction": False,
}
