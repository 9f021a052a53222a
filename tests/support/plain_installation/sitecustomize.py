"""Hides what only requirements-dev.txt brings, so that nothing loads it by itself.

On PYTHONPATH a process is as after `make run`: structlog imports rich and greenlet
where they are, Celery psutil and REST framework pygments.
"""

import sys

for name in ("greenlet", "psutil", "pygments", "requests", "rich"):
    sys.modules[name] = None  # type: ignore[assignment]  # documented: it then fails
