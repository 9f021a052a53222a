"""A first model goes where one is missing, so that a new agent can answer (LB-50)."""

from typing import Any

from agents.choices import ModelKind
from agents.models import Agent, Model, RunnerDescriptor
from agents.registry.config_schema import is_empty, read_schema
from agents.services import save_agent

_SELECTORS = {"model-fallback-selector", "llm-model-selector"}


def fill_first_selector(model: Model, *, author: str) -> Agent | None:
    """Put a workspace's first language model into its first empty model selector.

    Agents are asked in the order they were made, archived ones excepted; a selector
    that is set is never changed. Returns the agent that uses the model now, or None.
    """
    workspace = model.provider.workspace_id
    others = Model.objects.filter(
        kind=ModelKind.LLM, provider__workspace_id=workspace
    ).exclude(pk=model.pk)
    if model.kind != ModelKind.LLM or not model.enabled or others.exists():
        return None
    agents = Agent.objects.filter(workspace=workspace, archived_at=None).order_by("pk")
    for agent in agents:
        name, kind = _empty_selector(agent)
        if not name:
            continue
        chosen: Any = str(model.public_id)
        if kind == "model-fallback-selector":
            chosen = {"primary": chosen, "fallbacks": []}
        agent.runner_config = {**agent.runner_config, name: chosen}
        return save_agent(agent, author=author)
    return None


def _empty_selector(agent: Agent) -> tuple[str, str]:
    runner = RunnerDescriptor.objects.filter(runner_id=agent.runner_id).first()
    for item in read_schema(runner.config_schema) if runner is not None else ():
        if item.type in _SELECTORS and is_empty(agent.runner_config.get(item.name)):
            return item.name, item.type
    return "", ""
