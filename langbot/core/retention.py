"""Removes what has outlived its purpose. Each app registers what it keeps.

`manage.py prune` and the workers' sweep do it; any number may at once. Rows go in
batches, so that nobody waits for a lock; what waits or runs is never touched.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.apps import apps
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from langbot.core.models import ApiToken, IdempotencyKey, Lease, Workspace
from langbot.core.periods import WorkspaceRetention
from langbot.lib.conf import conf
from langbot.lib.log_files import remove_old

IDEMPOTENCY_HOURS = 24  # contract.md
LEASE_HOURS = 24  # a holder that comes back takes a new row
LOG_DAYS = 30  # of this machine; a day's files are at most 60 MB (LB-175)
TOKEN_DAYS = 90  # a token that is over stays to be looked at
BATCH = 1000  # rows per statement, so that SQLite's one writer is free in between

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of rows: how they are removed, which come first, whose they are."""

    name: str
    purge: Callable[[], int]
    order: int
    models: frozenset[str]


_rules: dict[str, Rule] = {}
_kept: dict[str, str] = {}


def register(
    name: str, purge: Callable[[], int], *models: str, order: int = 50
) -> None:
    """Add a function that deletes what is due and returns how many rows went.

    Called in `AppConfig.ready`; a second registration of a name replaces the first.
    `models` are the labels of what it bounds; a lower `order` goes first, rows before
    those that they refer to.
    """
    _rules[name] = Rule(name, purge, order, frozenset(models))


def keep(reason: str, *models: str) -> None:
    """Say why nothing removes the rows of these models."""
    _kept.update(dict.fromkeys(models, reason))


def rules() -> list[Rule]:
    """Return every rule in the order in which they are applied."""
    return sorted(_rules.values(), key=lambda rule: (rule.order, rule.name))


def kept() -> dict[str, str]:
    """Return {model label: why its rows stay}."""
    return dict(_kept)


def purge_all() -> dict[str, int]:
    """Delete everything that is due; returns the number of rows by name.

    A rule that fails is logged and keeps no other from its work; -1 stands for it.
    """
    return {rule.name: _purged(rule) for rule in rules()}


def _purged(rule: Rule) -> int:
    try:
        return rule.purge()
    except Exception:  # one table must not keep the others from being cleaned
        logger.exception("retention of %s failed", rule.name)
        return -1


def sweep() -> None:
    """Do the same in the background, where only the log can tell."""
    logger.info("retention", extra={"removed": purge_all()})


# Periods


def due_before(column: str) -> dict[int, datetime]:
    """Return {workspace key: rows older than this are due} for a period's column.

    Workspaces that keep for good are left out.
    """
    stored = dict(WorkspaceRetention.objects.values_list("workspace", column))
    default = getattr(WorkspaceRetention(), column)
    now = datetime.now(UTC)
    keys = Workspace.objects.values_list("pk", flat=True)
    days = {key: stored.get(key, default) for key in keys}
    return {key: now - timedelta(days=many) for key, many in days.items() if many}


def old_rows(rows: QuerySet[Any], before: datetime) -> Iterator[list[int]]:
    """Yield the keys of rows made before, the oldest first, at most BATCH at once.

    Keys grow with the time of making: the first young row ends the walk, so that no
    index on a time is needed, which each insert would pay for.
    """
    last = 0
    while True:
        page = rows.filter(pk__gt=last).order_by("pk").values_list("pk", "created_at")
        found = list(page[:BATCH])
        keys = [key for key, made in found if made < before]
        if keys:
            yield keys
        if len(found) < BATCH or len(keys) < len(found):
            return
        last = found[-1][0]


def delete_batches(due: QuerySet[Any]) -> int:
    """Delete rows that a query finds by an index, BATCH at once; returns how many."""
    removed = 0
    while keys := list(due.order_by().values_list("pk", flat=True)[:BATCH]):
        gone = due.model._base_manager.filter(pk__in=keys).delete()[0]
        if not gone:
            break
        removed += gone
    return removed


# What the core keeps


def purge_idempotency_keys() -> int:
    """Delete answers that are no longer replayed."""
    before = Now() - timedelta(hours=IDEMPOTENCY_HOURS)
    return delete_batches(IdempotencyKey.objects.filter(created_at__lt=before))


def purge_leases() -> int:
    """Delete leases that nobody has held for a day."""
    before = Now() - timedelta(hours=LEASE_HOURS)
    return Lease.objects.filter(expires_at__lt=before).delete()[0]


def purge_api_tokens() -> int:
    """Delete tokens that were revoked or ran out a season ago."""
    before = Now() - timedelta(days=TOKEN_DAYS)
    over = Q(revoked_at__lt=before) | Q(expires_at__lt=before)
    return ApiToken.objects.filter(over).delete()[0]


def purge_sessions() -> int:
    """Delete the logins that have expired, where the database keeps them."""
    if not apps.is_installed("django.contrib.sessions"):
        return 0
    sessions = apps.get_model("sessions", "Session")
    return delete_batches(sessions._default_manager.filter(expire_date__lt=Now()))


def purge_logs() -> int:
    """Remove the log files of this machine that are older than a month."""
    return remove_old(conf().data_dir / "logs", LOG_DAYS * 86_400.0)


def register_core() -> None:
    """Register what belongs to no app above; called when Django is ready."""
    register(
        "idempotent answers", purge_idempotency_keys, "langbot_core.IdempotencyKey"
    )
    register("leases", purge_leases, "langbot_core.Lease")
    register("API tokens", purge_api_tokens, "langbot_core.ApiToken")
    register("log files", purge_logs)
    register("sessions", purge_sessions, "sessions.Session")
    keep(
        "people make and remove them",
        "langbot_core.Workspace",
        "langbot_core.WorkspaceRetention",
        "langbot_core.Membership",
        "langbot_core.ServiceAccount",
        "langbot_core.NotificationPreference",
    )
    keep("one row for each permission of each group", "langbot_core.RoleGrant")
    keep("its hash outlives the segment, or no chain holds", "langbot_core.AuditSeal")
