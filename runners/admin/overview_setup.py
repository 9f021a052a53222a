"""The first page's checklist: what a new installation still needs."""

from collections.abc import Callable
from dataclasses import dataclass

from django.urls import reverse
from django.utils.translation import gettext as _

from agents.choices import ProviderKind
from agents.models import ModelProvider
from langbot.core.access import visible_rows
from runners.admin.overview_facts import Facts


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to set up; `url` leads to where it is done."""

    title: str
    text: str
    is_done: bool
    url: str
    link: str


def steps_for(facts: Facts) -> list[Step]:
    """Return the steps that the person may see."""
    steps: dict[str, Callable[[Facts], Step]] = {
        "langbot_runners.view_workernode": _worker,
        "langbot_agents.view_pluginconnection": _plugin,
        "langbot_agents.view_modelprovider": _provider,
        "langbot_agents.view_agent": _agent,
        "langbot_agents.view_agentbinding": _binding,
    }
    may = facts.user.has_perm
    return [make(facts) for name, make in steps.items() if may(name)]


def _worker(facts: Facts) -> Step:
    return Step(
        _("A worker is alive"),
        _("Workers execute runs; without one messages wait."),
        bool(facts.counts["workers"]),
        reverse("admin:langbot_runners_workernode_changelist"),
        _("Workers"),
    )


def _plugin(facts: Facts) -> Step:
    return Step(
        _("A plugin is connected"),
        _("Plugins bring the runners that agents run on."),
        bool(facts.counts["plugins"]),
        reverse("admin:langbot_agents_pluginconnection_changelist"),
        _("Plugin connections"),
    )


def _provider(facts: Facts) -> Step:
    providers = visible_rows(facts.user, ModelProvider.objects.filter(enabled=True))
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


def _agent(facts: Facts) -> Step:
    return Step(
        _("There is an agent"),
        _("An agent is a runner with its settings and rules."),
        bool(facts.counts["agents"]),
        reverse("admin:langbot_agents_agent_add"),
        _("Add an agent"),
    )


def _binding(facts: Facts) -> Step:
    return Step(
        _("A binding leads to it"),
        _("A binding says which bot's events an agent answers."),
        bool(facts.counts["bindings"]),
        reverse("admin:langbot_agents_agentbinding_add"),
        _("Add a binding"),
    )
