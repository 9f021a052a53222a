"""Every act that is recorded has words in the reader's language."""

import ast
from pathlib import Path
from typing import Any

from langbot.core.audit_words import ACTIONS, action_words

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("agents", "artifacts", "langbot", "platforms", "runners")
RECORDERS = {"record_act", "record_host_act", "record_change", "_record"}


def recorded_acts(tree):
    """Yield the literals that calls of the audit log's functions name as acts."""
    node: Any
    for node in ast.walk(tree):
        if _records(node):
            given = [one.value for one in node.keywords if one.arg == "action"]
            if _name(node.func) != "record_change":
                given += node.args[1:2]
            for value in given:
                yield from _texts(value)


def _records(node):
    return isinstance(node, ast.Call) and _name(node.func) in RECORDERS


def _name(function):
    return getattr(function, "id", None) or getattr(function, "attr", "")


def _texts(value):
    """Yield what an expression may be: a literal, or one of two by a condition."""
    if isinstance(value, ast.IfExp):
        yield from _texts(value.body)
        yield from _texts(value.orelse)
    elif isinstance(value, ast.BoolOp):
        for one in value.values:
            yield from _texts(one)
    elif isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value


def _acts_of(tree):
    if not any(_records(node) for node in ast.walk(tree)):
        return set()
    acts = set(recorded_acts(tree))
    for node in ast.walk(tree):  # act = "a" if … else "b"
        if isinstance(node, ast.Assign) and _name(node.targets[0]) in {"act", "action"}:
            acts.update(_texts(node.value))
    return acts


def test_every_recorded_act_has_words():
    found: dict[str, Path] = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for act in _acts_of(ast.parse(path.read_text())):
                found.setdefault(act, path.relative_to(ROOT))
    assert {"package built", "rotated", "pruned", "disabled"} <= found.keys()
    missing = {act: str(path) for act, path in found.items() if act not in ACTIONS}
    assert not missing


def test_an_act_of_somebody_else_is_shown_as_it_is():
    assert action_words("blessed") == "blessed"
