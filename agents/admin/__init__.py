"""Admin of agents, runners and models; importing it registers everything."""

from agents.admin import agents, registry, resources

__all__ = ["agents", "registry", "resources"]
