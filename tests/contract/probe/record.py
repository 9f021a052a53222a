"""What the probe found, and the table of it: `python -m tests.contract.probe.record`.

The tests keep what they found in `.test-env/`; the command writes docs/host-calls.md.
"""

import ast
import json
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from tests.support.sdk_environment import PROBED_SDK_VERSIONS

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs" / "host-calls.md"
SOURCE = Path(__file__).with_name("runner.py")
_FOUND = ROOT / ".test-env" / "probe"
_ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+) \| (\S+) \|$", re.MULTILINE)
_OK = "yes"

_HEAD = """\
# Host calls, as released SDKs see them

A real plugin (`tests/contract/probe/runner.py`) makes each call through the proxy of
the public `langbot-plugin` package and checks the answer, on the package's own
`lbp run`. Tools, knowledge and platform actions come from providers that the test
registers; models are the offline demo's. Written by
`python -m tests.contract.probe.record` from what `pytest tests/contract/test_probe.py`
found last; a test holds its list of calls current.

"""


def probed_calls() -> dict[str, str]:
    """Return the calls that the probe makes, with what it checks of the answer."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    return {
        node.name: ast.get_docstring(node) or ""
        for node in tree.body
        if isinstance(node, ast.AsyncFunctionDef)
        and any(
            isinstance(one, ast.Name) and one.id == "call"
            for one in node.decorator_list
        )
    }


def handled_calls() -> set[str]:
    """Return the run-scoped calls that the host answers, and the version's."""
    from runners.host_api.dispatch import HANDLERS, STREAMS
    from runners.protocol.actions import Action

    return {str(action) for action in (*HANDLERS, *STREAMS, Action.GET_LANGBOT_VERSION)}


def keep(version: str, found: Mapping[str, str]) -> None:
    """Keep what one SDK version's probe answered, beside what was kept before."""
    _FOUND.mkdir(parents=True, exist_ok=True)
    day = datetime.now(UTC).date().isoformat()
    path = _FOUND / f"{version}.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    kept |= {name: [answer, day] for name, answer in found.items()}
    path.write_text(json.dumps(kept, indent=1))


def documented() -> dict[str, list[str]]:
    """Return the table's rows: the cells behind each call's name."""
    text = DOCS.read_text(encoding="utf-8")
    return {
        name: [checks, *cells.split(" | "), day]
        for name, checks, cells, day in _ROW.findall(text)
    }


def table(found: Mapping[str, Mapping[str, list[str]]], handled: set[str]) -> str:
    """Return the page; a call without an answer of a version has an empty cell."""
    versions = list(found)
    lines = [
        f"| call | checked of the answer | {' | '.join(versions)} | verified on |",
        f"|---|---|{'---|' * len(versions)}---|",
    ]
    for name, checks in sorted(probed_calls().items()):
        if name not in handled:
            continue
        answers = [found[version].get(name, ["", ""]) for version in versions]
        cells = [_OK if answer == "ok" else answer for answer, _ in answers]
        day = min(day for _, day in answers)
        lines.append(f"| `{name}` | {checks} | {' | '.join(cells)} | {day} |")
    return _HEAD + "\n".join(lines) + "\n"


def main() -> None:
    """Write the page from what the tests found."""
    import django

    django.setup()
    found = {}
    for version in PROBED_SDK_VERSIONS:
        path = _FOUND / f"{version}.json"
        if not path.exists():
            sys.exit(
                f"{version} was not probed: run pytest tests/contract/test_probe.py"
            )
        found[version] = json.loads(path.read_text())
    DOCS.write_text(table(found, handled_calls()), encoding="utf-8")


if __name__ == "__main__":
    main()
