"""Admin of agents, runners and models; importing it registers everything."""

from agents.admin import agents, bindings, registry, resources, versions

__all__ = ["agents", "bindings", "registry", "resources", "versions"]
