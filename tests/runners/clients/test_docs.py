"""What docs/clients.md shows works, as it stands there, against the real host."""

import asyncio
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.runners.clients.test_client_tools import TOOL, call, tool_run

DOCS = Path(__file__).resolve().parents[3] / "docs" / "clients.md"
BLOCK = re.compile(r"```python\n# follow\.py\n(.*?)```", re.DOTALL)


@pytest.fixture
def example(host, monkeypatch):
    monkeypatch.setenv("LANGBOT_URL", host.url)
    monkeypatch.setenv("LANGBOT_TOKEN", host.secrets["api_token"])
    (code,) = BLOCK.findall(DOCS.read_text(encoding="utf-8"))
    module = ModuleType("follow")
    exec(compile(code, str(DOCS), "exec"), module.__dict__)  # noqa: S102  # the point of this test
    return module


async def test_the_example_follows_a_run(example):
    async with asyncio.timeout(60):
        assert await example.ask("good day", "echo") == "You said: good day"


async def test_the_example_executes_its_tool(example, host, monkeypatch):
    monkeypatch.setitem(TOOL, "name", "local_time")
    async with tool_run(host, "doctool") as plugin, asyncio.timeout(60):
        asking = asyncio.create_task(example.ask("what time is it?", "doctool"))
        request = await plugin.next_run()
        run_id = request["data"]["context"]["run_id"]
        answer = await call(plugin, run_id, zone="UTC")
        assert answer["result"] == {"time": "12:00", "asked": {"zone": "UTC"}}
        await plugin.delta(request, "Noon", sequence=1)
        await plugin.complete(request, "Noon", sequence=2)
        assert await asking == "Noon"
