"""Admin of the ledger; importing it registers everything."""

from runners.admin import carriers, conversations, deliveries, events, ledger, runs

__all__ = ["carriers", "conversations", "deliveries", "events", "ledger", "runs"]
