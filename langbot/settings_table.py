"""Writes `docs/settings.md`: `python -m langbot.settings_table`."""

from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo

from langbot.env import Environment
from langbot.lib.conf import HostSettings, Limits

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
INTRODUCTION = """\
# Settings

<!-- Written by `python -m langbot.settings_table`; a test fails when it is stale. -->

## The environment

`make run` needs none of these. `langbot/env.py` is the only reader; a wrong value stops
the start with the variable's name. Any variable may be given as `<NAME>_FILE`, the path
of a file that holds its value (Docker and systemd credentials).

| variable | default | meaning |
|---|---|---|
"""
HOST_SETTINGS = """
## `LANGBOT` in Django's settings

Inside another Django project the apps read `settings.LANGBOT` only; this project fills
it from the environment. Unknown names are refused (`langbot.E002`).

| key | default |
|---|---|
"""
LIMITS = """
## `LANGBOT["LIMITS"]`

Seconds and bytes, each with its source in `langbot/lib/conf.py`. Checked at the start:
tool call ≤ default run ≤ idle ≤ longest run, and a node is dead after more
than two missed heartbeats.

| limit | default |
|---|---|
"""


def render() -> str:
    """Return the document."""
    return "".join(
        [
            INTRODUCTION,
            *_variables(),
            HOST_SETTINGS,
            *_rows(HostSettings.model_fields, skip={"limits"}),
            LIMITS,
            *_rows(Limits.model_fields),
        ]
    )


def _variables() -> Iterator[str]:
    for name, variable in Environment.model_fields.items():
        default = _code(variable)
        yield f"| `{name.upper()}` | {default} | {variable.description} |\n"


def _rows(
    fields: dict[str, FieldInfo], skip: frozenset[str] | set[str] = frozenset()
) -> Iterator[str]:
    for name, one in fields.items():
        if name not in skip:
            shown = name.upper() if fields is HostSettings.model_fields else name
            yield f"| `{shown}` | {_code(one)} |\n"


def _code(one: FieldInfo) -> str:
    if one.default in ("", []):
        return ""
    if hasattr(one.default, "model_dump"):
        return f"`{one.default.model_dump()}`"
    return f"`{one.default}`"


if __name__ == "__main__":
    DOCUMENT.write_text(render(), encoding="utf-8")
