"""Plugin containers as they cross the wire, see wire.md §3."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CAPABILITIES = (
    "streaming",
    "tool_calling",
    "knowledge_retrieval",
    "multimodal_input",
    "skill_authoring",
    "interrupt",
    "steering",
    "interactions",
)
# What the source-era kind `AgentRunner` may ask for; kind `Runner` has no artifacts.
PERMISSIONS: Mapping[str, list[str]] = {
    "models": ["invoke", "stream", "rerank", "count_tokens"],
    "tools": ["detail", "call"],
    "knowledge_bases": ["list", "retrieve"],
    "history": ["page", "search"],
    "events": ["get", "page"],
    "storage": ["plugin", "workspace"],
}
ARTIFACT_PERMISSIONS: Mapping[str, list[str]] = {"artifacts": ["metadata", "read"]}


def runner_component(
    kind: str,
    name: str = "default",
    *,
    config: Sequence[Mapping[str, Any]] = (),
    permissions: Mapping[str, list[str]] = PERMISSIONS,
    capabilities: Iterable[str] = ("streaming", "interrupt"),
) -> dict[str, Any]:
    """Build the manifest of one runner component of any kind."""
    title = {"en_US": name.capitalize()}
    granted = set(capabilities)
    spec: dict[str, Any] = {
        "config": list(config),
        "capabilities": {flag: flag in granted for flag in CAPABILITIES},
        "permissions": dict(permissions),
    }
    if kind == "Runner":
        spec["usages"] = ["agent"]
    return {
        "apiVersion": "langbot/v1",
        "kind": kind,
        "metadata": {"name": name, "label": title, "description": title},
        "spec": spec,
        "execution": {"python": {"path": f"{name}.py", "attr": name.capitalize()}},
    }


def plugin_container(
    author: str,
    name: str,
    components: Iterable[Mapping[str, Any]],
    *,
    status: str = "mounted",
) -> dict[str, Any]:
    """Build what `register_plugin` and `get_plugin_container` carry."""
    title = {"en_US": name}
    manifest = {
        "apiVersion": "langbot/v1",
        "kind": "Plugin",
        "metadata": {
            "author": author,
            "name": name,
            "version": "0.1.0",
            "label": title,
            "description": title,
        },
        "spec": {"config": [], "components": {}, "pages": []},
        "execution": {"python": {"path": "main.py", "attr": "Plugin"}},
    }
    return {
        "debug": False,
        "install_source": "",
        "install_info": {},
        "manifest": _discovered(manifest, "manifest.yaml"),
        "plugin_instance": None,
        "enabled": True,
        "priority": 0,
        "plugin_config": {},
        "status": status,
        "components": [
            {
                "manifest": _discovered(component, "components/runner/default.yaml"),
                "component_instance": None,
                "component_config": {},
            }
            for component in components
        ],
    }


def _discovered(manifest: Mapping[str, Any], path: str) -> dict[str, Any]:
    return {"owner": "builtin", "rel_path": path, "manifest": dict(manifest)}
