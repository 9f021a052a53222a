"""Calls functions of tests in a process that is configured for a host's database.

The test process has a database of its own, which pytest-django guards. `Inside.call`
names a module-level function; arguments and result cross as JSON, one line each.
"""

import importlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]


class InsideError(AssertionError):
    """The function raised; the message is its traceback."""


class Inside:
    """One helper process, started by the first call and safe for several threads."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def call(self, function: Callable[..., Any], **arguments: Any) -> Any:
        """Return what the function returns there; raises InsideError."""
        name = f"{function.__module__}:{function.__qualname__}"
        with self._lock:
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps([name, arguments]) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
        if "error" in answer:
            raise InsideError(answer["error"])
        return answer["result"]

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.inside"],
                cwd=_ROOT,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self._process

    def close(self) -> None:
        """End the helper process."""
        if self._process is not None:
            self._process.communicate(timeout=10)
            self._process = None


def _answer(line: str) -> dict[str, Any]:
    import traceback

    from django.db import close_old_connections

    name, arguments = json.loads(line)
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
        return {"result": function(**arguments)}
    except Exception:  # noqa: BLE001 - whatever it is, it is told to the test
        return {"error": traceback.format_exc()}
    finally:
        close_old_connections()


def main() -> None:
    """Serve calls on standard input until it ends."""
    import django

    django.setup()
    answers = sys.stdout
    sys.stdout = sys.stderr  # a print of a called function is no answer
    for line in sys.stdin:
        answers.write(json.dumps(_answer(line)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
