"""Runner state as people see and set it, beside the runners that own it."""

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from langbot.core.audit import record_act
from langbot.core.models import Workspace
from runners.ledger.scopes import scope_keys
from runners.ledger.state_store import StateWrite, check_value, write_state
from runners.models import AgentRun, RunnerState


class VersionConflictError(Exception):
    """Somebody else wrote the value; `version` is what it has now, 0 for none."""

    def __init__(self, version: int) -> None:
        super().__init__(version)
        self.version = version


def states_of(workspace: Workspace) -> QuerySet[RunnerState]:
    """Return the workspace's values that have not expired."""
    current = Q(expires_at=None) | Q(expires_at__gt=Now())
    return RunnerState.objects.filter(current, workspace=workspace)


def keys_of(run: AgentRun) -> dict[str, str]:
    """Return {scope: scope key} of a run: those it was frozen with, once it began."""
    frozen: dict[str, str] = (run.snapshot or {}).get("scope_keys") or {}
    return frozen or scope_keys(run)


def set_state(write: StateWrite, version: int | None, actor: str) -> RunnerState:
    """Write a value as a runner would; returns its row, one version on.

    With `version`, only if the stored value has that version (0: if there is none).
    `actor` is the name in the audit log, which notes no values. Raises
    StateRefusedError and VersionConflictError; nothing was written then.
    """
    check_value(write.key, write.value)
    with transaction.atomic():
        write_state(write)  # locks the row, whoever else writes it
        row = RunnerState.objects.get(scope_key=write.scope_key, key=write.key)
        if version is not None and row.version != version + 1:
            raise VersionConflictError(row.version - 1)
        before = {"version": row.version - 1}
        after = {"state": str(row), "version": row.version}
        record_act(actor, "state set", row, before=before, after=after)
    return row


def remove_state(row: RunnerState, actor: str) -> None:
    """Remove a value."""
    with transaction.atomic():
        before = {"state": str(row), "version": row.version}
        record_act(actor, "state removed", row, before=before)
        row.delete()
