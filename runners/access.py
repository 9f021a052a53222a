"""What one run may use: computed once, at the first claim, and frozen on the run.

effective = manifest permissions ∩ (the agent's policy ∪ what its runner config names,
narrowed by the binding) ∩ workspace ∩ capability (`docs/architecture.md`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from agents.models import Agent, AgentBinding, RunnerDescriptor
from agents.policies import DeliveryPolicy, ResourcePolicy, StatePolicy
from agents.registry.config_schema import selected_bases, selected_models
from agents.resources.catalogue import visible_models
from agents.resources.knowledge import knowledge_engines
from runners.agent_tools import is_agent_tool, tool_names
from runners.client_tools import offered_tools
from runners.grants import Grant, grant_bases, grant_tools
from runners.platform_tools import REPLY_TOOL
from runners.protocol.context import AvailableApis, Resources
from runners.protocol.manifest import AGENT_RUNNER_KIND

Grants = dict[str, Grant]


class Access(BaseModel):
    """The frozen rights of a run; stored in its snapshot.

    `runners.host_api.authorization` checks them on every call.
    """

    model_config = ConfigDict(extra="ignore")

    permissions: dict[str, list[str]] = {}
    capabilities: dict[str, bool] = {}
    models: dict[str, list[str]] = {}
    windows: dict[str, int] = {}  # tokens a model takes at once, where that is known
    tools: dict[str, list[str]] = {}
    requires: dict[str, str] = {}  # tools, and which one has to be called before
    knowledge_bases: dict[str, list[str]] = {}
    sources: dict[str, dict[str, str]] = {}  # whose a tool or a knowledge base is
    state_scopes: list[str] = []
    plugin_storage: bool = False
    workspace_storage: bool = False
    artifacts: bool = False
    apis: dict[str, bool] = {}


@dataclass(slots=True)
class _Wanted:
    """What agent, runner config and binding grant, before anybody has it."""

    resources: ResourcePolicy
    models: list[str]
    bases: list[str]
    replies: bool = True

    def narrow(self, binding: ResourcePolicy) -> None:
        """Take away what the binding does not name; what it was not given stays."""
        self.resources = self.resources.narrowed(binding)
        given = binding.model_fields_set
        if "models" in given:
            self.models = [name for name in self.models if name in binding.models]
        if "knowledge_bases" in given:
            allowed = binding.knowledge_bases
            self.bases = [name for name in self.bases if name in allowed]
        if "tools" in given:
            self.replies = REPLY_TOOL in binding.tools


def compute_access(
    agent: Agent,
    descriptor: RunnerDescriptor | None,
    binding: AgentBinding | None,
    workspace_id: int,
    *,
    has_conversation: bool = True,
    metadata: Any = None,
) -> tuple[Access, Resources]:
    """Return the rights of a run, and the resources its context lists.

    `metadata` is what the sender says; it may name tools that it executes itself.
    """
    runner = descriptor if descriptor is not None else _NO_RUNNER
    wanted = _wanted(agent, runner, binding)
    state = _state(agent, binding)
    models = _models(wanted.models, workspace_id, runner.permissions.get("models", []))
    tools, bases = _tools(wanted, runner, workspace_id, metadata)
    storage = runner.permissions.get("storage", [])
    access = Access(
        permissions=runner.permissions,
        capabilities=runner.capabilities,
        models={model["model_id"]: model["operations"] for model in models},
        windows=_windows(models),
        tools=_operations(tools),
        requires={name: one.requires for name, one in tools.items() if one.requires},
        knowledge_bases=_operations(bases),
        sources={"tools": _sources(tools), "knowledge_bases": _sources(bases)},
        state_scopes=list(state.scopes) if state.enabled else [],
        plugin_storage=wanted.resources.plugin_storage and "plugin" in storage,
        workspace_storage=wanted.resources.workspace_storage and "workspace" in storage,
        artifacts=wanted.resources.artifacts,
    )
    access.apis = _apis(
        access, kind=runner.kind, has_conversation=has_conversation
    ).model_dump()
    return access, _listed(access, models, tools, bases)


_NO_RUNNER = RunnerDescriptor(permissions={}, capabilities={}, config_schema=[])


def _wanted(
    agent: Agent, runner: RunnerDescriptor, binding: AgentBinding | None
) -> _Wanted:
    resources = ResourcePolicy.model_validate(agent.resource_policy)
    schema, config = runner.config_schema, agent.runner_config
    wanted = _Wanted(
        resources,
        models=[*selected_models(schema, config), *resources.models],
        bases=[*resources.knowledge_bases],
    )
    if knowledge_engines:
        wanted.bases += selected_bases(schema, config)
    if binding is not None and binding.resource_policy is not None:
        wanted.narrow(ResourcePolicy.model_validate(binding.resource_policy))
    return wanted


def _state(agent: Agent, binding: AgentBinding | None) -> StatePolicy:
    state = StatePolicy.model_validate(agent.state_policy)
    if binding is not None and binding.state_policy is not None:
        state = state.narrowed(StatePolicy.model_validate(binding.state_policy))
    return state


def _tools(
    wanted: _Wanted, runner: RunnerDescriptor, workspace_id: int, metadata: Any
) -> tuple[Grants, Grants]:
    """Return tools and knowledge bases; those of a host without any cost nothing."""
    permissions, capabilities = runner.permissions, runner.capabilities
    tools = grant_tools(
        [
            *(name for name in wanted.resources.tools if not is_agent_tool(name)),
            *tool_names(wanted.resources.agents),
        ],
        workspace_id,
        permissions.get("tools", []),
        calls_tools=capabilities.get("tool_calling", False),
        replies=wanted.replies,
        of_client=offered_tools(wanted.resources.client_tools, metadata),
    )
    retrieves = capabilities.get("knowledge_retrieval", False)
    bases = grant_bases(
        wanted.bases if retrieves else (),
        workspace_id,
        permissions.get("knowledge_bases", []),
    )
    return tools, bases


def _listed(
    access: Access, models: list[dict[str, Any]], tools: Grants, bases: Grants
) -> Resources:
    return Resources.model_validate(
        {
            "models": models,
            "tools": [grant.resource for grant in tools.values()],
            "knowledge_bases": [grant.resource for grant in bases.values()],
            "storage": {
                "plugin_storage": access.plugin_storage,
                "workspace_storage": access.workspace_storage,
            },
        }
    )


def delivery_policy(agent: Agent, binding: AgentBinding | None) -> DeliveryPolicy:
    """Return how replies leave: the binding's policy replaces the agent's.

    What an agent hides, no binding shows.
    """
    own = DeliveryPolicy.model_validate(agent.delivery_policy)
    replaced = binding.delivery_policy if binding is not None else None
    if replaced is None:
        return own
    policy = DeliveryPolicy.model_validate(replaced)
    policy.show_reasoning &= own.show_reasoning
    return policy


def _models(
    granted: Iterable[str], workspace_id: int, permitted: list[str]
) -> list[dict[str, Any]]:
    wanted = list(dict.fromkeys(granted))
    if not wanted or not permitted:
        return []
    visible = {model["model_id"]: model for model in visible_models(workspace_id)}
    models = []
    for model in (visible[name] for name in wanted if name in visible):
        operations = [one for one in model["operations"] if one in permitted]
        if operations:  # an empty list would mean all of them to the SDK (wire 5.2)
            models.append({**model, "operations": operations})
    return models


def _windows(models: list[dict[str, Any]]) -> dict[str, int]:
    found = {model["model_id"]: model["context_window_tokens"] for model in models}
    return {name: window for name, window in found.items() if window}


def _operations(grants: Grants) -> dict[str, list[str]]:
    return {name: grant.operations for name, grant in grants.items()}


def _sources(grants: Grants) -> dict[str, str]:
    return {name: grant.source for name, grant in grants.items()}


def _artifact_operations(permissions: dict[str, list[str]], kind: str) -> Iterable[str]:
    """Return what a manifest leaves of the rights to the conversation's files.

    Those of released SDKs have no words for them, so that the agent's policy decides
    alone; those of kind AgentRunner have (wire 5.3).
    """
    if kind == AGENT_RUNNER_KIND:
        return permissions.get("artifacts", [])
    return ("metadata", "read")


def _apis(access: Access, *, kind: str, has_conversation: bool) -> AvailableApis:
    history = access.permissions.get("history", [])
    events = access.permissions.get("events", [])
    reads_history = has_conversation and "page" in history
    files = _artifact_operations(access.permissions, kind) if access.artifacts else ()
    return AvailableApis(
        prompt_get=True,
        artifact_metadata="metadata" in files,
        artifact_read="read" in files,
        reply_stream="call" in access.tools.get(REPLY_TOOL, []),
        steering_pull=has_conversation and access.capabilities.get("steering", False),
        history_page=reads_history,
        history_search=has_conversation and "search" in history,
        event_get="get" in events,
        event_page=has_conversation and "page" in events,
        state=bool(access.state_scopes),
        storage=access.plugin_storage or access.workspace_storage,
        run_get=True,
        # Its own events; those of other runs say what the history says.
        run_events_page=True,
        # Of itself: no more than its stream may say, or a person do to it.
        run_cancel=True,
        run_append_result=True,
        run_finalize=True,
        run_list=reads_history,
    )
