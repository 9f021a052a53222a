"""What tests do to the rows of a running host, called by `RunningHost.inside`."""

from collections.abc import Iterable
from typing import Any


def make_plugin_token(
    label: str, plugins: Iterable[str], workspace: str | None = "default"
) -> str:
    """Return a new plugin token; without a workspace it serves all of them."""
    from agents.registry.tokens import create_plugin_token
    from langbot.core.models import Workspace

    place = Workspace.objects.get_or_create(slug=workspace)[0] if workspace else None
    return create_plugin_token(label, workspace=place, plugins=plugins)[1]


def revoke_plugin_token(label: str) -> int:
    """Revoke the tokens of this label, as the admin does."""
    from agents.registry.models import PluginToken
    from agents.registry.tokens import revoke_plugin_tokens

    tokens = PluginToken.objects.filter(label=label)
    return revoke_plugin_tokens(tokens.values_list("pk", flat=True))


def connections_of(plugin: str) -> list[dict[str, Any]]:
    """Return the plugin's connections, oldest first."""
    from agents.registry.models import PluginConnection

    rows = PluginConnection.objects.filter(plugin=plugin).order_by("pk")
    return [
        {"status": row.status, "reason": row.reason, "runners": row.runners}
        for row in rows
    ]


def set_runner_enabled(runner_id: str, *, enabled: bool) -> int:
    """Switch a runner on or off, as the admin does."""
    from agents.registry.models import RunnerDescriptor

    runners = RunnerDescriptor.objects.filter(runner_id=runner_id)
    return runners.update(enabled=enabled)
