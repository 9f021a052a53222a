"""Who asked for a run: sub-runs belong to the run that their event comes from."""

from typing import Any
from uuid import UUID

from langbot.lib.conf import DEEPEST_SUB_RUN
from runners.ledger.events import EventLog
from runners.ledger.runs import AgentRun

SOURCE = "run:"  # and the public id of the asking run; the server sets it
ORIGIN = "sub:"  # and the same, in the origin of the sub-run


def asking_run(event: EventLog) -> UUID | None:
    """Return the public id of the run whose tool call the event is."""
    if not event.source.startswith(SOURCE):
        return None
    return UUID(event.source.removeprefix(SOURCE))


def lineage_of(event: EventLog) -> dict[str, Any]:
    """Return parent, depth and origin of a run for the event; others ask nothing."""
    asking = asking_run(event)
    if asking is None:
        return {}
    known = AgentRun.objects.filter(public_id=asking, workspace=event.workspace_id)
    parent = known.values_list("pk", "depth").first()
    if parent is None:
        return {
            "depth": DEEPEST_SUB_RUN,
            "origin": f"{ORIGIN}{asking}",
        }  # and has no rights
    depth = parent[1] + 1
    return {"parent_id": parent[0], "depth": depth, "origin": f"{ORIGIN}{asking}"}
