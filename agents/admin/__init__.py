"""Admin of agents, runners and models; importing it registers everything."""

from agents.admin import (
    agents,
    bindings,
    plugins,
    registry,
    resources,
    usage,
    versions,
)

__all__ = [
    "agents",
    "bindings",
    "plugins",
    "registry",
    "resources",
    "usage",
    "versions",
]
