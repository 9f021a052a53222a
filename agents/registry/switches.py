"""Switching plugins and runners on and off; runs under way end normally.

Web processes withdraw what is off within 2 s, and a worker refuses each run that has
not started as `runner.disabled`.
"""

from datetime import UTC, datetime

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from agents.registry.harness import is_unacknowledged
from agents.registry.models import Plugin, RunnerDescriptor
from langbot.core.audit import record_act
from langbot.lib.models import lock_rows


def switch_plugin(plugin: Plugin, *, on: bool, author: str) -> bool:
    """Switch a plugin; False when it was so already. Its runners keep their own."""
    with transaction.atomic():
        changed = Plugin.objects.filter(pk=plugin.pk, enabled=not on).update(enabled=on)
        if not changed:
            return False
        runners_of(plugin).update(plugin_enabled=on)
        _record(author, plugin, on=on)
    plugin.refresh_from_db()
    return True


def switch_runner(runner: RunnerDescriptor, *, on: bool, author: str) -> bool:
    """Switch a runner; False when it was so already.

    Raises ValidationError for a harness that nobody has acknowledged.
    """
    with transaction.atomic():
        (row,) = lock_rows(RunnerDescriptor.objects.filter(pk=runner.pk))
        if row.enabled == on:
            return False
        if on and is_unacknowledged(row):
            message = _("%(runner)s executes code: acknowledge that on its page first.")
            raise ValidationError(message % {"runner": row})
        RunnerDescriptor.objects.filter(pk=row.pk).update(enabled=on)
        _record(author, row, on=on)
    return True


def archive_plugin(plugin: Plugin) -> None:
    """Retire a plugin and its runners; agents, runs and history keep naming them."""
    now = datetime.now(UTC)
    with transaction.atomic():
        Plugin.objects.filter(pk=plugin.pk).update(archived_at=now)
        runners_of(plugin).filter(archived_at=None).update(archived_at=now)


def runners_of(plugin: Plugin) -> QuerySet[RunnerDescriptor]:
    """Return the runners of a plugin; another workspace may have one of its name."""
    runners = RunnerDescriptor.objects.filter(plugin=plugin.name)
    if plugin.workspace_id is not None:
        runners = runners.filter(workspace_id=plugin.workspace_id)
    return runners


def _record(author: str, row: Plugin | RunnerDescriptor, *, on: bool) -> None:
    record_act(
        author,
        "enabled" if on else "disabled",
        row,
        before={"enabled": not on},
        after={"enabled": on},
    )
