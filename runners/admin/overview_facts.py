"""What the first page knows: rows that several of its parts show are read once."""

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from django.db.models import QuerySet

from agents.choices import ConnectionStatus
from agents.models import Agent, AgentBinding, PluginConnection, RunnerDescriptor
from agents.registry.connections import online_runner_ids
from langbot.core.access import visible_rows
from langbot.lib.counts import capped, counts_of
from runners.admin.overview_numbers import DAY, since
from runners.choices import DeliveryStatus, QueuedStatus, RunStatus
from runners.models import (
    AgentRun,
    Delivery,
    PendingAction,
    QueuedMessage,
    WorkerNode,
)

MOST = 1_000  # counted; more are shown as so many and a plus
AGENTS = 500  # looked at
_LONG = timedelta(minutes=1)  # that a run may wait for a worker


class Facts:
    """What a person may see of the host's state; asked while one page is made."""

    def __init__(self, user: Any) -> None:
        self.user = user

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many rows of each kind there are, up to one more than `MOST`."""
        seen = {
            name: rows[: MOST + 1]
            for permission, kinds in self._counted().items()
            if self.user.has_perm(permission)
            for name, rows in kinds.items()
        }
        return counts_of(seen)

    def count(self, name: str) -> tuple[int, str]:
        """Return a number, and how it is shown."""
        number = self.counts.get(name, 0)
        return number, capped(number, MOST)

    @cached_property
    def agents(self) -> list[Agent]:
        """Return the agents that answer, as far as they are looked at."""
        columns = ("name", "runner_id", "runner_config")
        return list(self._answering().only(*columns)[:AGENTS])

    @cached_property
    def runners(self) -> dict[str, RunnerDescriptor]:
        """Return the runners of those agents by their ids."""
        ids = {agent.runner_id for agent in self.agents}
        rows = RunnerDescriptor.objects.filter(runner_id__in=ids).defer("manifest")
        return {runner.runner_id: runner for runner in rows}

    @cached_property
    def online(self) -> set[str]:
        """Return the ids of the runners that some connection serves."""
        return set(online_runner_ids())

    def waiting_actions(self) -> QuerySet[PendingAction]:
        """Return what waits for a person's decision."""
        return visible_rows(self.user, PendingAction.objects.open())

    def _answering(self) -> QuerySet[Agent]:
        agents = Agent.objects.filter(enabled=True, archived_at=None)
        return visible_rows(self.user, agents)

    def _counted(self) -> dict[str, dict[str, QuerySet[Any]]]:
        """Return what is counted, by the permission to see it."""
        online = PluginConnection.objects.filter(status=ConnectionStatus.ONLINE)
        bound = AgentBinding.objects.filter(
            enabled=True, agent__enabled=True, agent__archived_at=None
        )
        waiting = QueuedMessage.objects.filter(status=QueuedStatus.QUEUED)
        user = self.user
        return {
            "langbot_runners.view_workernode": {"workers": WorkerNode.objects.alive()},
            "langbot_agents.view_pluginconnection": {
                "plugins": visible_rows(user, online, shared=True)
            },
            "langbot_agents.view_agent": {"agents": self._answering()},
            "langbot_agents.view_agentbinding": {"bindings": visible_rows(user, bound)},
            "langbot_runners.view_agentrun": self._waiting_runs(),
            "langbot_runners.view_pendingaction": {"actions": self.waiting_actions()},
            "langbot_runners.view_delivery": self._lost_deliveries(),
            "langbot_runners.view_queuedmessage": {
                "messages": visible_rows(user, waiting)
            },
        }

    def _waiting_runs(self) -> dict[str, QuerySet[Any]]:
        before = datetime.now(UTC) - _LONG
        late = AgentRun.objects.filter(status=RunStatus.QUEUED, queued_at__lt=before)
        return {
            "late": visible_rows(self.user, late),
        }

    def _lost_deliveries(self) -> dict[str, QuerySet[Any]]:
        rows = Delivery.objects.filter(since(Delivery, datetime.now(UTC) - DAY.length))
        today = visible_rows(self.user, rows)
        return {
            "failed": today.filter(status=DeliveryStatus.FAILED),
            "unclear": today.filter(status=DeliveryStatus.UNCERTAIN),
        }


def facts_for(user: Any) -> Facts:
    """Return the facts of one request, whose user they are kept on."""
    known: Facts | None = getattr(user, "_langbot_facts", None)
    if known is None:
        known = user._langbot_facts = Facts(user)
    return known


__all__ = ["MOST", "Facts", "facts_for"]
