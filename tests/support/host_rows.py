"""What tests do to the rows of a running host, called by `RunningHost.inside`."""

from collections.abc import Iterable
from typing import Any

from langbot.lib.conf import conf
from langbot.lib.redis import quick_client


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


def keys_without_a_life(only: str = "") -> list[str]:
    """Return the host's Redis keys that never expire; those of Celery's broker aside.

    With `only`, return the keys of that name instead, whatever their life.
    """
    prefix = conf().redis_prefix
    client = quick_client()
    if only:
        return [key.decode() for key in client.scan_iter(f"{prefix}{only}*", 1000)]
    return [
        key.decode()
        for key in client.scan_iter(f"{prefix}*", 1000)
        if client.ttl(key) == -1 and not key.decode().startswith(f"{prefix}celery:")
    ]


def set_agent(slug: str, columns: dict[str, Any]) -> int:
    """Write an agent's columns past all validation, as a broken import would."""
    from agents.models import Agent

    return Agent.objects.filter(slug=slug).update(**columns)
