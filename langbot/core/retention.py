"""Removes what has outlived its purpose. Each app registers what it keeps.

`manage.py prune` and the workers' sweep do it; any number may at once.
"""

import logging
from collections.abc import Callable
from datetime import timedelta

from django.db.models.functions import Now

from langbot.core.models import IdempotencyKey, Lease

IDEMPOTENCY_HOURS = 24  # contract.md
LEASE_HOURS = 24  # a holder that comes back takes a new row
BATCH = 1000  # rows per statement, so that SQLite's one writer is free in between

logger = logging.getLogger(__name__)
_purges: dict[str, Callable[[], int]] = {}


def register(name: str, purge: Callable[[], int]) -> None:
    """Add a function that deletes what is due and returns how many rows went.

    Called in `AppConfig.ready`; a second registration of a name replaces the first.
    """
    _purges[name] = purge


def purge_all() -> dict[str, int]:
    """Delete everything that is due; returns the number of rows by name."""
    return {name: purge() for name, purge in sorted(_purges.items())}


def sweep() -> None:
    """Do the same in the background, where only the log can tell."""
    logger.info("retention", extra={"removed": purge_all()})


def purge_idempotency_keys() -> int:
    """Delete answers that are no longer replayed."""
    before = Now() - timedelta(hours=IDEMPOTENCY_HOURS)
    due = IdempotencyKey.objects.filter(created_at__lt=before)
    removed = 0
    while keys := list(due.values_list("pk", flat=True)[:BATCH]):
        removed += IdempotencyKey.objects.filter(pk__in=keys).delete()[0]
    return removed


def purge_leases() -> int:
    """Delete leases that nobody has held for a day."""
    before = Now() - timedelta(hours=LEASE_HOURS)
    return Lease.objects.filter(expires_at__lt=before).delete()[0]


register("idempotent answers", purge_idempotency_keys)
register("leases", purge_leases)
