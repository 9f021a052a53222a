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


class Counting(ToolProvider):
    """`count {"number": n}`: what it does cannot be undone, so once is all it may."""

    key = "counting"

    def find(self, workspace_id: int, names: Collection[str]) -> list[Tool]:
        return [Tool(name=NAME, description="Counts")] if NAME in names else []

    async def call(self, call: ToolCall) -> Mapping[str, Any]:
        number = int(call.parameters["number"])
        await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311  a kill may hit here
        _mark(f"{call.run_id} {number}")
        await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311  and here
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
