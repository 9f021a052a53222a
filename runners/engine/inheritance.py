"""What a sub-run may: what both agents may, never more than the run that asked."""

from typing import Any

from agents.policies import APPROVALS, strictest
from runners.access import Access
from runners.models import AgentRun
from runners.platform_tools import REPLY_TOOL
from runners.protocol.context import Resources


def rights_of_parent(run: AgentRun) -> Access:
    """Return the frozen rights of the asking run; one that is gone had none."""
    return Access.model_validate(_snapshot_of_parent(run).get("access") or {})


def inherited(
    own: Access, resources: Resources, parent: Access
) -> tuple[Access, Resources]:
    """Return the rights that both have, and the resources that are left.

    What a runner can do at all is its own; so is the history of the new conversation.
    """
    access = own.model_copy(
        update={
            "models": _both(own.models, parent.models),
            "tools": _both(own.tools, parent.tools),
            "knowledge_bases": _both(own.knowledge_bases, parent.knowledge_bases),
            "state_scopes": [one for one in own.state_scopes if one in _scopes(parent)],
            "plugin_storage": own.plugin_storage and parent.plugin_storage,
            "workspace_storage": own.workspace_storage and parent.workspace_storage,
            "artifacts": own.artifacts and parent.artifacts,
        }
    )
    access.apis = {**own.apis, **_apis(access)}
    return access, _left(resources, access)


def inherit_approvals(snapshot: dict[str, Any], run: AgentRun) -> None:
    """Let the tools of a sub-run need a person where those of its parent do."""
    theirs = _snapshot_of_parent(run).get(APPROVALS)
    if theirs is not None:
        own = snapshot.get(APPROVALS)
        policies = [own, theirs] if own is not None else [theirs]
        snapshot[APPROVALS] = strictest(policies, snapshot["access"]["tools"])


def _snapshot_of_parent(run: AgentRun) -> dict[str, Any]:
    if run.parent_id is None:
        return {}
    known = AgentRun.objects.filter(pk=run.parent_id).values_list("snapshot", flat=True)
    return known.first() or {}


def _scopes(parent: Access) -> set[str]:
    # The conversation is the sub-run's own.
    return {*parent.state_scopes, "conversation"} if parent.state_scopes else set()


def _both(
    own: dict[str, list[str]], parent: dict[str, list[str]]
) -> dict[str, list[str]]:
    """Return what both grant, with the operations that both have."""
    shared = {
        name: [one for one in operations if one in parent[name]]
        for name, operations in own.items()
        if name in parent
    }
    # An empty list would mean all operations to the SDK (wire 5.2).
    return {name: operations for name, operations in shared.items() if operations}


def _apis(access: Access) -> dict[str, bool]:
    is_kept = {
        "reply_stream": "call" in access.tools.get(REPLY_TOOL, []),
        "state": bool(access.state_scopes),
        "storage": access.plugin_storage or access.workspace_storage,
        "artifact_metadata": access.artifacts,
        "artifact_read": access.artifacts,
    }
    return {name: False for name, kept in is_kept.items() if not kept}


def _left(resources: Resources, access: Access) -> Resources:
    listed = resources.model_copy(deep=True)
    listed.models = [
        one.model_copy(update={"operations": access.models[one.model_id]})
        for one in listed.models
        if one.model_id in access.models
    ]
    listed.tools = [
        one.model_copy(update={"operations": access.tools[one.tool_name]})
        for one in listed.tools
        if one.tool_name in access.tools
    ]
    listed.knowledge_bases = [
        one for one in listed.knowledge_bases if one.kb_id in access.knowledge_bases
    ]
    listed.storage.plugin_storage = access.plugin_storage
    listed.storage.workspace_storage = access.workspace_storage
    return listed
