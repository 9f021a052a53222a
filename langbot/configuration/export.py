"""From the rows of a workspace to the document."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Prefetch

from agents.config_secrets import is_sealed, reveal_config
from agents.models import (
    Agent,
    AgentBinding,
    Model,
    ModelPrice,
    ModelProvider,
    Quota,
)
from langbot.configuration.documents import (
    FORMAT,
    AgentDocument,
    BindingDocument,
    BotDocument,
    ModelDocument,
    PriceDocument,
    ProviderDocument,
    QuotaDocument,
    RetentionDocument,
)
from langbot.configuration.references import ModelReferences
from langbot.core.models import Workspace
from langbot.core.periods import WorkspaceRetention
from langbot.lib.redaction import REDACTED
from langbot.lib.secrets import SecretUnreadableError
from platforms.models import Bot


@dataclass(frozen=True, slots=True)
class Hidden:
    """A secret that is compared and never shown."""

    value: Any


def export_configuration(workspace: Workspace) -> dict[str, Any]:
    """Return the workspace's configuration as JSON values, without secrets."""
    references = ModelReferences(workspace)
    providers = [_provider(row) for row in _providers(workspace)]
    bots = [_bot(row) for row in _bots(workspace)]
    agents = [_agent(row, references) for row in _agents(workspace)]
    content = {"providers": providers, "bots": bots, "agents": agents}
    limits = {"quotas": _quotas(workspace), "retention": _retention(workspace)}
    return {"format": FORMAT, **content, **limits}


def objects_of(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Return every object by its path, secrets as `Hidden`, to compare two states."""
    references = ModelReferences(workspace)
    found: dict[str, dict[str, Any]] = {}
    for provider in _providers(workspace):
        content = _provider(provider)
        path = f"providers/{provider.name}"
        for model in content.pop("models"):
            place = f"{path}/models/{model['name']}"
            for price in model.pop("prices"):
                found[f"{place}/prices/{price['valid_from']}"] = price
            found[place] = model
        found[path] = {**content, **_hidden({"api_key": provider.api_key})}
    for bot in _bots(workspace):
        content = _bot(bot)
        content["config"] |= _hidden(bot.secrets)
        found[f"bots/{bot.slug}"] = content
    for agent in _agents(workspace):
        content = _agent(agent, references)
        path = f"agents/{agent.slug}"
        for binding in content.pop("bindings"):
            found[f"{path}/bindings/{_label(binding)}"] = binding
        content["runner_config"] |= _hidden(_secrets_of(agent))
        found[path] = content
    for quota in _quotas(workspace):
        found[f"quotas/{QuotaDocument.model_validate(quota).label}"] = quota
    if (retention := _retention(workspace)) is not None:
        found["retention"] = retention
    return found


def says_nothing_new(
    wanted: AgentDocument | BotDocument,
    row: Agent | Bot,
    references: ModelReferences | None = None,
) -> bool:
    """Whether a row in use is already what a document says of it.

    Saving it all the same would store defaults that its schema has got since.
    """
    if row.archived_at is not None:
        return False
    if isinstance(row, Bot):
        return wanted.model_dump() == _bot(row)
    content = _agent(row, references or ModelReferences(row.workspace))
    content.pop("bindings")
    return wanted.model_dump(exclude={"bindings"}) == content


def shown(value: Any) -> Any:
    """Return a value with every `Hidden` as the mask."""
    if isinstance(value, Hidden):
        return REDACTED
    if isinstance(value, Mapping):
        return {name: shown(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    return value


def binding_content(binding: AgentBinding) -> dict[str, Any]:
    """Return what a document says of a binding."""
    return _fields(binding, BindingDocument)


def _providers(workspace: Workspace) -> Iterable[ModelProvider]:
    rows = ModelProvider.objects.filter(workspace=workspace).order_by("name")
    return rows.prefetch_related("models__prices")


def _bots(workspace: Workspace) -> Iterable[Bot]:
    rows = Bot.objects.filter(workspace=workspace, archived_at=None)
    return rows.order_by("slug")


def _agents(workspace: Workspace) -> Iterable[Agent]:
    rows = Agent.objects.filter(workspace=workspace, archived_at=None).order_by("slug")
    bindings = AgentBinding.objects.order_by("scope", "scope_ref", "-priority")
    return rows.prefetch_related(Prefetch("bindings", bindings))


def _provider(provider: ModelProvider) -> dict[str, Any]:
    models = sorted(provider.models.all(), key=lambda model: model.name)
    return {
        **_fields(provider, ProviderDocument, "api_key", "models"),
        "models": [_model(model) for model in models],
    }


def _model(model: Model) -> dict[str, Any]:
    prices = sorted(model.prices.all(), key=lambda price: price.valid_from)
    content = _fields(model, ModelDocument, "prices")
    return {**content, "prices": [_price(price) for price in prices]}


def _price(price: ModelPrice) -> dict[str, Any]:
    content = _fields(price, PriceDocument)
    return {**content, "valid_from": price.valid_from.isoformat()}


def _quotas(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the budgets that name nobody: ids of people fit one installation."""
    rows = Quota.objects.filter(workspace=workspace, person="")
    alive = rows.exclude(agent__archived_at__isnull=False).select_related("agent")
    order = ("scope", "agent__slug", "tier", "window")
    return [
        {
            **_fields(row, QuotaDocument, "agent", "tier"),
            "agent": row.agent.slug if row.agent is not None else "",
            "tier": row.tier or None,
        }
        for row in alive.order_by(*order)
    ]


def _retention(workspace: Workspace) -> dict[str, Any] | None:
    """Return the periods that somebody set; None where the defaults hold."""
    row = WorkspaceRetention.objects.filter(workspace=workspace).first()
    return None if row is None else _fields(row, RetentionDocument)


def _bot(bot: Bot) -> dict[str, Any]:
    content = _fields(bot, BotDocument)
    return {**content, "config": dict(bot.config)}


def _agent(agent: Agent, references: ModelReferences) -> dict[str, Any]:
    content = _fields(agent, AgentDocument, "runner", "runner_config", "bindings")
    content["runner"] = agent.runner_id
    content["runner_config"] = {
        name: references.to_names(value)
        for name, value in agent.runner_config.items()
        if not is_sealed(value)
    }
    content["resource_policy"] = references.to_names(agent.resource_policy)
    bindings = [
        references.to_names(binding_content(row)) for row in agent.bindings.all()
    ]
    content["bindings"] = sorted(bindings, key=_label)
    return content


def _fields(row: Any, document: Any, *without: str) -> dict[str, Any]:
    """Return the document's members that are columns of the same name."""
    names = [name for name in document.model_fields if name not in without]
    values = {name: getattr(row, name) for name in names}
    return {
        name: str(value) if isinstance(value, str) else value
        for name, value in values.items()
    }


def _label(binding: Mapping[str, Any]) -> str:
    """Return what tells the bindings of one agent apart."""
    filters = json.dumps(binding["filters"], sort_keys=True)
    place = f"{binding['scope']}:{binding['scope_ref'] or '*'}"
    name = f"{place} {binding['event_pattern']} {binding['priority']}"
    return name if filters == "{}" else f"{name} {filters}"


def _secrets_of(agent: Agent) -> dict[str, Any]:
    sealed = {n: value for n, value in agent.runner_config.items() if is_sealed(value)}
    try:
        return reveal_config(sealed)
    except SecretUnreadableError:
        return sealed  # unreadable ones are compared as they are


def _hidden(secrets: Any) -> dict[str, Hidden]:
    found = secrets if isinstance(secrets, dict) else {}
    return {name: Hidden(value) for name, value in found.items() if value}
