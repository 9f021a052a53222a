"""What an agent's page says beyond its form: is it ready, and what may it use."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from agents.admin.plugin_words import operation_words
from agents.forms import STATE_SCOPES
from agents.models import Agent, Model, RunnerDescriptor
from agents.policies import DeliveryPolicy
from agents.registry.config_items import localized
from agents.registry.config_schema import selected_models
from agents.registry.connections import online_runner_ids
from agents.resources.catalogue import public_id_of
from langbot.lib import admin as look
from runners.access import Access, compute_access


@dataclass(frozen=True, slots=True)
class Notice:
    """One sentence about the agent; `url` leads to where it can be changed."""

    text: str
    tone: str = look.WARN
    url: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Allowance:
    """One kind of thing that the agent may use; no values means none of it."""

    label: str
    values: list[str] = field(default_factory=list)


def descriptor_of(agent: Agent) -> RunnerDescriptor | None:
    """Return the agent's runner, None when no plugin ever offered it."""
    return RunnerDescriptor.objects.filter(runner_id=agent.runner_id).first()


def runner_label(runner: RunnerDescriptor | None, runner_id: str) -> str:
    """Return what a runner is called in the reader's language."""
    label = localized(runner.label, get_language() or "en") if runner else ""
    return label or runner_id.removeprefix("plugin:")


def notices_of(agent: Agent, runner: RunnerDescriptor | None) -> list[Notice]:
    """Return what keeps the agent from answering, most important first."""
    return [
        *_own_notices(agent),
        *_runner_notices(agent, runner),
        *_model_notices(agent, runner),
        *_binding_notices(agent),
    ]


def _own_notices(agent: Agent) -> Iterator[Notice]:
    if agent.archived_at is not None:
        yield Notice(
            _(
                "This agent is archived: it answers nothing. In the list of agents, "
                "the action “Restore archived agents” brings it back."
            ),
            url=reverse("admin:langbot_agents_agent_changelist"),
            link=_("Agents"),
        )
    elif not agent.enabled:
        yield Notice(_("This agent is disabled: it answers nothing."))


def _runner_notices(agent: Agent, runner: RunnerDescriptor | None) -> Iterator[Notice]:
    name = runner_label(runner, agent.runner_id)
    connections = reverse("admin:langbot_agents_pluginconnection_changelist")
    if runner is None:
        text = _(
            "No plugin has ever offered the runner “%(runner)s”. Start the plugin "
            "that brings it, or choose another runner: until then messages fail."
        )
        yield Notice(text % {"runner": name}, look.BAD, connections, _("Connections"))
        return
    there = reverse("admin:langbot_agents_runnerdescriptor_change", args=[runner.pk])
    if runner.workspace_id not in (None, agent.workspace_id):
        text = _("The runner “%(runner)s” belongs to another workspace.")
        yield Notice(text % {"runner": name}, look.BAD)
    elif runner.last_error:
        text = _("The host refuses the runner “%(runner)s”: %(reason)s")
        named = {"runner": name, "reason": runner.last_error}
        yield Notice(text % named, look.BAD, there, name)
    elif not runner.is_usable:
        text = _("The runner “%(runner)s” is switched off.")
        yield Notice(text % {"runner": name}, look.BAD, there, name)
    elif agent.runner_id not in online_runner_ids():
        text = _(
            "The runner “%(runner)s” is offline: no plugin process that brings it is "
            "connected. Messages wait a minute for it, then they fail."
        )
        yield Notice(text % {"runner": name}, look.WARN, connections, _("Connections"))


def _model_notices(agent: Agent, runner: RunnerDescriptor | None) -> Iterator[Notice]:
    schema = runner.config_schema if runner is not None else []
    names = selected_models(schema, agent.runner_config)
    ids = [public_id for public_id in map(public_id_of, names) if public_id is not None]
    found = Model.objects.filter(
        public_id__in=ids, provider__workspace_id=agent.workspace_id
    )
    usable = found.filter(Q(enabled=True) & Q(provider__enabled=True)).count()
    if usable < len(names):
        text = _(
            "Its settings name %(missing)d of %(all)d models that do not exist or are "
            "switched off."
        )
        yield Notice(
            text % {"missing": len(names) - usable, "all": len(names)},
            look.WARN if usable else look.BAD,
            reverse("admin:langbot_agents_model_changelist"),
            _("Models"),
        )


def _binding_notices(agent: Agent) -> Iterator[Notice]:
    if agent.pk and not agent.bindings.filter(enabled=True).exists():
        text = _(
            "No binding leads to this agent: it is reached by its test and by calls "
            "that name it, not by bots."
        )
        yield Notice(text, look.CALM)


def allowances_of(agent: Agent, runner: RunnerDescriptor | None) -> list[Allowance]:
    """Return what a run of the agent would be granted now, without a binding."""
    access, resources = compute_access(agent, runner, None, agent.workspace_id)
    names = _model_names(access)
    models = [
        f"{names.get(model.model_id, model.model_id)}"
        f" ({', '.join(operation_words('models', one) for one in model.operations)})"
        for model in resources.models
    ]
    return [
        Allowance(_("Models"), models),
        Allowance(_("State of"), [_scope(name) for name in access.state_scopes]),
        Allowance(_("Storage"), list(_storage(access))),
        Allowance(_("History"), _yes(when=bool(access.apis.get("history_page")))),
        Allowance(_("Replies"), _yes(when=_delivery(agent).reply)),
        Allowance(_("Asked for by the runner"), list(_asked(access))),
    ]


def _model_names(access: Access) -> dict[str, str]:
    ids = [one for one in map(public_id_of, access.models) if one is not None]
    rows = Model.objects.select_related("provider").filter(public_id__in=ids)
    return {str(model.public_id): str(model) for model in rows}


def _scope(name: str) -> str:
    return str(dict(STATE_SCOPES).get(name, name))


def _storage(access: Access) -> Iterator[str]:
    if access.plugin_storage:
        yield _("Storage of its plugin")
    if access.workspace_storage:
        yield _("Storage of the workspace")


def _asked(access: Access) -> Iterator[str]:
    for area, operations in access.permissions.items():
        if operations:
            yield from (operation_words(area, one) for one in operations)


def _yes(*, when: bool) -> list[str]:
    return [_("yes")] if when else []


def _delivery(agent: Agent) -> DeliveryPolicy:
    return DeliveryPolicy.model_validate(agent.delivery_policy)


def page_context(agent: Agent) -> dict[str, Any]:
    """Return what the templates of an agent's pages show."""
    runner = descriptor_of(agent)
    return {
        "agent": agent,
        "notices": notices_of(agent, runner),
        "allowances": allowances_of(agent, runner),
        "runner_name": runner_label(runner, agent.runner_id),
    }
