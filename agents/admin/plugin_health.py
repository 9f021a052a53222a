"""How plugins do: processes, errors, runs. A fixed number of queries for any page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Max
from django.utils.translation import gettext as _

from agents.admin.run_counts import MOST, run_counts
from agents.choices import ConnectionStatus
from agents.models import Agent, Plugin, PluginConnection, RunnerDescriptor
from langbot.core.access import visible_rows
from langbot.lib import admin as look
from langbot.lib.counts import capped

AGENTS = 500  # whose runs are counted


@dataclass
class Health:
    """How one plugin does."""

    processes: int = 0
    error: str = ""
    runs: int = 0
    runners: list[RunnerDescriptor] = field(default_factory=list)

    @property
    def shown_runs(self) -> str:
        """The number of runs, bounded."""
        return capped(self.runs, MOST)


def healths(user: Any, plugins: Sequence[Plugin]) -> dict[int, Health]:
    """Return how each plugin does, by its key, as far as the person may see it.

    A shared plugin serves every workspace: each sees its own part, and what is shared.
    """
    found = {plugin.pk: Health() for plugin in plugins}
    by_name = {plugin.name: found[plugin.pk] for plugin in plugins}
    places = {plugin.name: plugin.workspace_id for plugin in plugins}
    runners = RunnerDescriptor.objects.filter(plugin__in=by_name)
    for runner in visible_rows(user, runners, shared=True):
        # One workspace's plugin may bear the name of another's.
        if places[runner.plugin] in (None, runner.workspace_id):
            by_name[runner.plugin].runners.append(runner)
            by_name[runner.plugin].error = by_name[runner.plugin].error or (
                runner.last_error
            )
    _count_connections(user, by_name, places)
    _count_runs(user, found.values())
    return found


def _count_connections(
    user: Any, by_name: dict[str, Health], places: dict[str, int | None]
) -> None:
    rows = PluginConnection.objects.filter(plugin__in=by_name).order_by()
    seen = visible_rows(user, rows, shared=True).values("plugin", "workspace")
    online = seen.filter(status=ConnectionStatus.ONLINE).annotate(count=Count("pk"))
    for row in online:
        if places[row["plugin"]] in (None, row["workspace"]):
            by_name[row["plugin"]].processes += row["count"]
    refused = seen.filter(status=ConnectionStatus.REFUSED).exclude(reason="")
    newest = refused.annotate(newest=Max("pk")).values("newest")
    last = PluginConnection.objects.filter(pk__in=newest).order_by("-pk")
    for name, workspace, reason in last.values_list("plugin", "workspace", "reason"):
        if places[name] in (None, workspace):
            by_name[name].error = by_name[name].error or reason


def _count_runs(user: Any, found: Iterable[Health]) -> None:
    owners = {r.runner_id: health for health in found for r in health.runners}
    served = Agent.objects.filter(runner_id__in=owners).order_by("-pk")
    agents = visible_rows(user, served, shared=True)
    pairs = dict(agents.values_list("pk", "runner_id")[:AGENTS])
    for agent, count in run_counts(pairs.keys()).items():
        owners[pairs[agent]].runs += count


def badge_of(plugin: Plugin, health: Health) -> Any:
    """Return a plugin's state as a badge."""
    if plugin.archived_at is not None:
        return look.badge(_("removed"))
    if not plugin.enabled:
        return look.badge(_("switched off"), look.WARN)
    if health.processes:
        return look.badge(_("online"), look.GOOD)
    if health.error:
        return look.badge(_("refused"), look.BAD)
    return look.badge(_("offline"), look.WARN)
