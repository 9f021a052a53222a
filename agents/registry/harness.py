"""The risk class of runners that can execute code (LB-161 to LB-164).

Released manifests have no key for it. What tells such a runner is its own settings: a
command line, arguments or an environment for it, a machine to log in to. Every
harness that LangBot ships (acp-agent-runner, claude-code-agent, codex-agent) has some
of these, and none of its other runners has any. An admin can set the class by hand
for one that this does not tell; nobody can clear it for one that it does.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from agents.choices import RunnerRisk
from agents.registry.models import RunnerDescriptor
from langbot.core.audit import record_act, record_change, state_of
from langbot.lib.models import lock_rows

HARNESS_FIELDS: Final = frozenset(
    {"acp-command", "command", "args-json", "env-json", "mcp-bridge-transport"}
)  # wire 7
_PREFIXES: Final = ("ssh-", "daemon-")


def executes_code(schema: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a runner with this configuration schema is a harness."""
    names = {str(item.get("name", "")).replace("_", "-").lower() for item in schema}
    return bool(names & HARNESS_FIELDS) or any(
        name.startswith(_PREFIXES) for name in names
    )


def is_unacknowledged(runner: RunnerDescriptor) -> bool:
    """Whether the runner is a harness that nobody has acknowledged."""
    return runner.risk == RunnerRisk.HARNESS and runner.acknowledged_at is None


def phrase_for(runner: RunnerDescriptor) -> str:
    """Return what a person types to enable a harness; never translated."""
    return f"{runner.runner_id} may execute code"


def acknowledge_risk(runner: RunnerDescriptor, typed: str, *, author: str) -> None:
    """Enable a harness because a person has written that it may execute code.

    The audit log keeps who, when and the words. Raises ValidationError for others.
    """
    if typed.strip() != phrase_for(runner):
        message = _("The words differ from those above.")
        raise ValidationError(message)
    with transaction.atomic():
        (row,) = lock_rows(RunnerDescriptor.objects.filter(pk=runner.pk))
        row.acknowledged_at, row.acknowledged_by = datetime.now(UTC), author[:200]
        row.enabled = True
        row.save(update_fields=["acknowledged_at", "acknowledged_by", "enabled"])
        record_act(author, "risk acknowledged", row, after={"typed": typed.strip()})


def set_risk(runner: RunnerDescriptor, risk: str, *, author: str) -> None:
    """Change the class by hand; a harness is switched off until acknowledged.

    Raises ValidationError when the settings of the runner tell that it is one.
    """
    if risk != RunnerRisk.HARNESS and executes_code(runner.config_schema):
        message = _("The settings of this runner show that it executes code.")
        raise ValidationError(message)
    with transaction.atomic():
        (row,) = lock_rows(RunnerDescriptor.objects.filter(pk=runner.pk))
        before = state_of(row)
        classify(row, risk)
        row.save(update_fields=["risk", "enabled", "acknowledged_at"])
        record_change(author, row, before)


def classify(row: RunnerDescriptor, risk: str) -> None:
    """Set the class on a row; one that becomes a harness is off, unacknowledged."""
    if risk == RunnerRisk.HARNESS and row.risk != RunnerRisk.HARNESS:
        row.enabled, row.acknowledged_at = False, None
    row.risk = risk
