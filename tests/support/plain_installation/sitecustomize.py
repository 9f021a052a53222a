"""Hides what only requirements-dev.txt brings, so that nothing loads it by itself.

On PYTHONPATH a process is as after `make run`: structlog imports rich where it is.
"""

import sys

for name in ("requests", "rich"):
    sys.modules[name] = None  # type: ignore[assignment]  # documented: it then fails
