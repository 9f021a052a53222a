"""What docs/runner-sdk.md shows works, as it stands there."""

import ast
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from runners.protocol.frames import Request
from runners.sdk import HostApi, results
from runners.sdk.testing import Given, RunOutcome

DOCS = Path(__file__).resolve().parents[3] / "docs" / "runner-sdk.md"
BLOCK = re.compile(r"```python\n# (\S+)\.py\n(.*?)```", re.DOTALL)
MAX_LINES = 20


@pytest.fixture
def shown(monkeypatch):
    """The modules of the page, by the path in their first line."""
    found = {}
    monkeypatch.setitem(sys.modules, "my_team", ModuleType("my_team"))
    for path, code in BLOCK.findall(DOCS.read_text(encoding="utf-8")):
        module = ModuleType(path.replace("/", "."))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(code, f"{DOCS}:{path}", "exec"), module.__dict__)  # noqa: S102  # the point of this test
        found[path] = module
    return found


def code_lines(path):
    blocks = dict(BLOCK.findall(DOCS.read_text(encoding="utf-8")))
    return [line for line in blocks[path].splitlines() if line.strip()]


def test_the_runner_is_short():
    assert len(code_lines("my_team/greeter")) <= MAX_LINES


async def test_the_tests_of_the_page_pass(shown):
    tests = vars(shown["tests/test_greeter"])
    names = [name for name in tests if name.startswith("test_")]
    assert len(names) == 2
    for name in names:
        await tests[name]()


async def test_the_runner_serves_a_host(shown, connect_plugin):
    side = await connect_plugin(shown["my_team/greeter"].Greeter())
    seq_id = await side.start(config={"greeting": "Hello"}, input={"text": "Ada"})
    for action, answer in (("state_get", {"value": 4}), ("state_set", {})):
        request = await side.receive()
        assert isinstance(request, Request)
        assert request.action == action
        await side.answer(request, answer)
    said, completed, *_ = await side.results(seq_id)
    assert said["data"]["chunk"]["content"] == "Hello, Ada! This is visit 5."
    assert completed["type"] == "run.completed"


def named(heading):
    """The names in code font of the first columns of a section's tables."""
    text = DOCS.read_text(encoding="utf-8").partition(f"## {heading}\n")[2]
    rows = re.findall(r"^\|(.+?)\|", text.partition("\n## ")[0], re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert names
    return {name.partition("(")[0] for name in names}


def public(thing):
    return {name for name in dir(thing) if not name.startswith("_")}


def test_every_call_is_in_the_table():
    calls = public(HostApi) - {"call", "stream", "caller", "deadline_at", "run_id"}
    assert named("Calls to the host") == calls


def test_every_result_is_in_the_table():
    tree = ast.parse(Path(results.__file__).read_text(encoding="utf-8"))
    functions = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    assert functions == named("Results")


def test_everything_a_test_may_give_and_get_is_in_the_tables():
    assert set(Given.__annotations__) | public(RunOutcome) == named("Testing it")
