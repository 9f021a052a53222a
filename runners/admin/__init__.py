"""Admin of the ledger; importing it registers everything."""

from runners.admin import conversations, deliveries, events, ledger, runs

__all__ = ["conversations", "deliveries", "events", "ledger", "runs"]
