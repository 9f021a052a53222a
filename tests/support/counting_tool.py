"""A tool that marks each of its executions durably, for tests that kill its host.

A process gets it by `TEST_APPS` and writes to the file that `MARKS` names.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from django.apps import AppConfig

from agents.resources.tools import Tool, ToolCall, ToolProvider, tool_providers

APP = f"{__name__}.CountingTools"
MARKS = "TEST_TOOL_MARKS"
NAME = "count"
SLOW = "count_slowly"


class Counting(ToolProvider):
    """`count {"number": n}`: what it does cannot be undone, so once is all it may.

    `count_slowly {"number": n, "seconds": s}` does the same in the middle of its time.
    """

    key = "counting"

    def find(self, workspace_id: int, names: Collection[str]) -> list[Tool]:
        known = [name for name in (NAME, SLOW) if name in names]
        return [Tool(name=name, description="Counts") for name in known]

    async def call(self, call: ToolCall) -> Mapping[str, Any]:
        number = int(call.parameters["number"])
        half = float(call.parameters.get("seconds", random.uniform(0, 0.1))) / 2  # noqa: S311
        await asyncio.sleep(half)  # a kill may hit here
        _mark(f"{call.run_id} {number}")
        await asyncio.sleep(half)  # and here
        return {"number": number}


def _mark(line: str) -> None:
    """Append a line; it is on disk when this returns."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_DSYNC
    descriptor = os.open(os.environ[MARKS], flags, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def executions(marks: Path) -> Counter[str]:
    """Return how often each `<run id> <number>` was executed."""
    return Counter(marks.read_text().splitlines() if marks.exists() else [])


class CountingTools(AppConfig):
    name = "tests.support"
    label = "counting"

    def ready(self) -> None:
        tool_providers.register(Counting())
