"""Admin of the ledger; importing it registers everything."""

from runners.admin import (
    actions,
    carriers,
    conversations,
    deliveries,
    events,
    grants,
    ledger,
    runs,
)

__all__ = [
    "actions",
    "carriers",
    "conversations",
    "deliveries",
    "events",
    "grants",
    "ledger",
    "runs",
]
