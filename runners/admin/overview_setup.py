"""The first page's checklist: what a new installation still needs."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from agents.choices import ConnectionStatus, ProviderKind
from agents.models import Agent, AgentBinding, ModelProvider, PluginConnection
from langbot.core.access import visible_rows
from langbot.lib.conf import limits
from runners.models import WorkerNode


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to set up; `url` leads to where it is done."""

    title: str
    text: str
    is_done: bool
    url: str
    link: str


def steps_for(request: HttpRequest) -> list[Step]:
    """Return the steps that the person may see."""
    steps: dict[str, Callable[[Any], Step]] = {
        "langbot_runners.view_workernode": _worker,
        "langbot_agents.view_pluginconnection": _plugin,
        "langbot_agents.view_modelprovider": _provider,
        "langbot_agents.view_agent": _agent,
        "langbot_agents.view_agentbinding": _binding,
    }
    user: Any = request.user
    return [make(user) for name, make in steps.items() if user.has_perm(name)]


def living_workers() -> QuerySet[WorkerNode]:
    """Return the worker processes whose heart beats."""
    living = datetime.now(UTC) - timedelta(seconds=limits().node_dead_seconds)
    return WorkerNode.objects.filter(heartbeat_at__gt=living, stopped_at=None)


def _worker(_user: Any) -> Step:
    return Step(
        _("A worker is alive"),
        _("Workers execute runs; without one messages wait."),
        living_workers().exists(),
        reverse("admin:langbot_runners_workernode_changelist"),
        _("Workers"),
    )


def _plugin(user: Any) -> Step:
    online = PluginConnection.objects.filter(status=ConnectionStatus.ONLINE)
    return Step(
        _("A plugin is connected"),
        _("Plugins bring the runners that agents run on."),
        visible_rows(user, online, shared=True).exists(),
        reverse("admin:langbot_agents_pluginconnection_changelist"),
        _("Plugin connections"),
    )


def _provider(user: Any) -> Step:
    providers = visible_rows(user, ModelProvider.objects.filter(enabled=True))
    has_key = any(
        provider.api_key
        for provider in providers.exclude(kind=ProviderKind.DEMO).order_by("pk")[:100]
    )
    return Step(
        _("A model provider has its key"),
        _("Without one, only the offline demo model answers."),
        has_key,
        reverse("admin:langbot_agents_modelprovider_add"),
        _("Add a model provider"),
    )


def _agent(user: Any) -> Step:
    agents = Agent.objects.filter(enabled=True, archived_at=None)
    return Step(
        _("There is an agent"),
        _("An agent is a runner with its settings and rules."),
        visible_rows(user, agents).exists(),
        reverse("admin:langbot_agents_agent_add"),
        _("Add an agent"),
    )


def _binding(user: Any) -> Step:
    bindings = AgentBinding.objects.filter(
        enabled=True, agent__enabled=True, agent__archived_at=None
    )
    return Step(
        _("A binding leads to it"),
        _("A binding says which bot's events an agent answers."),
        visible_rows(user, bindings).exists(),
        reverse("admin:langbot_agents_agentbinding_add"),
        _("Add a binding"),
    )
