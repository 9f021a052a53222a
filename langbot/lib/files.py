"""Reading files that people name on the command line."""

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from langbot.lib.text import storable


def read_json(name: str) -> Any:
    """Return the JSON of a file, or of the input for `-`; raises CommandError."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")
        content = json.loads(text)
    except OSError as error:
        raise CommandError(f"{name}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{name} is not JSON: {error}") from None
    if storable(content) != content:
        raise CommandError(f"{name} has text or numbers that no database keeps.")
    return content
