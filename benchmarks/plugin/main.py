"""The benchmark plugin; it runs in the SDK's environment, never in the host's."""
# The SDK is not installed where mypy runs.
# mypy: ignore-errors

from langbot_plugin.api.definition.plugin import BasePlugin


class LoadPlugin(BasePlugin):
    """Carry the load runner."""

    async def initialize(self) -> None:
        """Need no preparation."""
