"""Periodic work of every worker, done by one of them: named leases, no beat process."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.db.models.functions import Now

from langbot.core.models import Lease

logger = logging.getLogger(__name__)

Sweep = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Periodic:
    """A function that some worker calls every `seconds`."""

    name: str
    seconds: float
    function: Sweep


_registered: dict[str, Periodic] = {}


def register(name: str, *, seconds: float, function: Sweep) -> None:
    """Add periodic work; called by apps when they are ready. Idempotent."""
    _registered[name] = Periodic(name, seconds, function)


def registered() -> list[Periodic]:
    """Return all periodic work."""
    return list(_registered.values())


def run_under_lease(periodic: Periodic, holder: str) -> bool:
    """Do the work if this holder gets or has its lease; False otherwise.

    A lease lasts three periods and at least 10 s, by the database's clock.
    """
    if not take_lease(periodic.name, holder, max(10.0, 3 * periodic.seconds)):
        return False
    periodic.function()
    return True


def take_lease(name: str, holder: str, seconds: float) -> bool:
    """Take or renew a lease by compare-and-set."""
    until = Now() + timedelta(seconds=seconds)
    mine = Lease.objects.filter(name=name, holder=holder)
    if mine.update(expires_at=until):
        return True
    if Lease.objects.filter(name=name, expires_at__lt=Now()).update(
        holder=holder, expires_at=until
    ):
        return True
    if Lease.objects.filter(name=name).exists():
        return False
    _, created = Lease.objects.get_or_create(
        name=name, defaults={"holder": holder, "expires_at": until}
    )
    return created
