"""What one run may use: computed once, at the first claim, and frozen on the run.

effective = manifest permissions ∩ (the agent's policy ∪ what its runner config names,
narrowed by the binding) ∩ workspace ∩ capability (`docs/architecture.md`).
"""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from agents.models import Agent, AgentBinding, RunnerDescriptor
from agents.policies import DeliveryPolicy, ResourcePolicy, StatePolicy
from agents.registry.config_schema import selected_models
from agents.resources.catalogue import visible_models
from runners.protocol.context import AvailableApis, Resources
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.manifest import AGENT_RUNNER_KIND


class Access(BaseModel):
    """The frozen rights of a run; stored in its snapshot, checked on every call."""

    model_config = ConfigDict(extra="ignore")

    permissions: dict[str, list[str]] = {}
    capabilities: dict[str, bool] = {}
    models: dict[str, list[str]] = {}
    state_scopes: list[str] = []
    plugin_storage: bool = False
    workspace_storage: bool = False
    artifacts: bool = False
    apis: dict[str, bool] = {}

    def require_api(self, name: str) -> None:
        """Raise permission_denied unless the run may use this part of the host."""
        if not self.apis.get(name, False):
            message = f"this run may not use {name}"
            raise ProtocolError(ErrorCode.PERMISSION_DENIED, message)

    def require_model(self, model_id: str, operation: str) -> None:
        """Raise permission_denied unless the model was granted for `operation`."""
        if operation not in self.models.get(model_id, []):
            message = f"this run may not {operation} model {model_id[:64]}"
            raise ProtocolError(ErrorCode.PERMISSION_DENIED, message)

    def require_storage(self, name: str) -> None:
        """Raise permission_denied unless `plugin` or `workspace` storage is granted."""
        granted = {"plugin": self.plugin_storage, "workspace": self.workspace_storage}
        if not granted[name]:
            message = f"this run has no {name} storage"
            raise ProtocolError(ErrorCode.PERMISSION_DENIED, message)

    def require_scope(self, scope: str) -> None:
        """Raise permission_denied unless state of `scope` is granted."""
        if scope not in self.state_scopes:
            message = f"this run has no {scope[:30]} state"
            raise ProtocolError(ErrorCode.PERMISSION_DENIED, message)


def compute_access(
    agent: Agent,
    descriptor: RunnerDescriptor | None,
    binding: AgentBinding | None,
    workspace_id: int,
    *,
    has_conversation: bool = True,
) -> tuple[Access, Resources]:
    """Return the rights of a run, and the resources its context lists."""
    permissions: dict[str, list[str]] = descriptor.permissions if descriptor else {}
    capabilities: dict[str, bool] = descriptor.capabilities if descriptor else {}
    schema = descriptor.config_schema if descriptor else []
    resources = ResourcePolicy.model_validate(agent.resource_policy)
    state = StatePolicy.model_validate(agent.state_policy)
    granted = [*resources.models, *selected_models(schema, agent.runner_config)]
    if binding is not None and binding.resource_policy is not None:
        narrower = ResourcePolicy.model_validate(binding.resource_policy)
        resources = resources.narrowed(narrower)
        if "models" in narrower.model_fields_set:
            granted = [model for model in granted if model in narrower.models]
    if binding is not None and binding.state_policy is not None:
        state = state.narrowed(StatePolicy.model_validate(binding.state_policy))
    models = _models(granted, workspace_id, permissions.get("models", []))
    storage = permissions.get("storage", [])
    access = Access(
        permissions=permissions,
        capabilities=capabilities,
        models={model["model_id"]: model["operations"] for model in models},
        state_scopes=list(state.scopes) if state.enabled else [],
        plugin_storage=resources.plugin_storage and "plugin" in storage,
        workspace_storage=resources.workspace_storage and "workspace" in storage,
        artifacts=resources.artifacts,
    )
    apis = _apis(access, has_conversation=has_conversation)
    kind = descriptor.kind if descriptor else ""
    files = _artifact_operations(permissions, kind) if access.artifacts else ()
    apis.artifact_metadata, apis.artifact_read = "metadata" in files, "read" in files
    access.apis = apis.model_dump()
    storage_granted = {
        "plugin_storage": access.plugin_storage,
        "workspace_storage": access.workspace_storage,
    }
    return access, Resources.model_validate(
        {"models": models, "storage": storage_granted}
    )


def delivery_policy(agent: Agent, binding: AgentBinding | None) -> DeliveryPolicy:
    """Return how replies leave: the binding's policy replaces the agent's."""
    replaced = binding.delivery_policy if binding is not None else None
    return DeliveryPolicy.model_validate(
        replaced if replaced is not None else agent.delivery_policy
    )


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


def _artifact_operations(permissions: dict[str, list[str]], kind: str) -> Iterable[str]:
    """Return what a manifest leaves of the rights to the conversation's files.

    Those of released SDKs have no words for them, so that the agent's policy decides
    alone; those of kind AgentRunner have (wire 5.3).
    """
    if kind == AGENT_RUNNER_KIND:
        return permissions.get("artifacts", [])
    return ("metadata", "read")


def _apis(access: Access, *, has_conversation: bool) -> AvailableApis:
    history = access.permissions.get("history", [])
    events = access.permissions.get("events", [])
    reads_history = has_conversation and "page" in history
    return AvailableApis(
        prompt_get=True,
        history_page=reads_history,
        history_search=has_conversation and "search" in history,
        event_get="get" in events,
        event_page=has_conversation and "page" in events,
        state=bool(access.state_scopes),
        storage=access.plugin_storage or access.workspace_storage,
        run_get=True,
        # Its own events; those of other runs say what the history says.
        run_events_page=True,
        run_list=reads_history,
    )
