"""Admin of the ledger; importing it registers everything."""

from runners.admin import ledger, runs

__all__ = ["ledger", "runs"]
