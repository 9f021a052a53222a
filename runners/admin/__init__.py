"""Admin of the ledger; importing it registers everything."""

from runners.admin import deliveries, ledger, runs

__all__ = ["deliveries", "ledger", "runs"]
