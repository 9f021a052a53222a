"""What a later protocol could add to a context, for dry runs that ask for it.

The conformance kit (`manage.py checkplugin`) sees with it whether a runner ignores keys
that it does not know (LB-26). Attachments, interactions and an answered form are left
alone: released SDKs refuse unknown keys there (wire 5.2).
"""

from typing import Any, Final

from runners.models import AgentRun

MARK: Final = "conformance"
_PLACES: Final = ("event", "conversation", "actor", "delivery", "resources", "runtime")


def add_unknown_keys(run: AgentRun, context: dict[str, Any]) -> dict[str, Any]:
    """Return the context, with unknown keys where the run's metadata asks for them."""
    if not run.dry_run:
        return context
    marks = run.metadata.get(MARK) if isinstance(run.metadata, dict) else None
    if not isinstance(marks, dict) or not marks.get("unknown_keys"):
        return context
    future = {"version": 99, "list": [1, None, {}]}
    for place in _PLACES:
        part = context.get(place)
        if isinstance(part, dict):
            part["x_future"] = future
    return {**context, "x_future": future}
