"""Admin of the ledger; importing it registers everything."""

from runners.admin import (
    actions,
    conversations,
    deliveries,
    events,
    grants,
    ledger,
    nodes,
    runs,
)

__all__ = [
    "actions",
    "conversations",
    "deliveries",
    "events",
    "grants",
    "ledger",
    "nodes",
    "runs",
]
