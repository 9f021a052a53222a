"""What tests do to the rows of a running host, called by `RunningHost.inside`."""

from collections.abc import Iterable
from typing import Any

from langbot.lib.conf import conf
from langbot.lib.redis import quick_client


def make_plugin_token(
    label: str,
    plugins: Iterable[str],
    workspace: str | None = "default",
    **rights: bool,
) -> str:
    """Return a new plugin token; without a workspace it serves all of them."""
    from agents.registry.tokens import create_plugin_token
    from langbot.core.models import Workspace

    place = Workspace.objects.get_or_create(slug=workspace)[0] if workspace else None
    return create_plugin_token(label, workspace=place, plugins=plugins, **rights)[1]


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


def make_demo_models(name: str) -> dict[str, str]:
    """Make an offline demo model of each kind in workspace `default`; returns ids."""
    from agents.choices import ModelKind, ProviderKind
    from agents.resources.models import Model, ModelProvider
    from langbot.core.models import Workspace

    provider = ModelProvider.objects.create(
        workspace=Workspace.objects.get(slug="default"),
        name=name,
        kind=ProviderKind.DEMO,
    )
    kinds = (ModelKind.LLM, ModelKind.EMBEDDING, ModelKind.RERANK)
    rows = [
        Model.objects.create(provider=provider, name=kind.value, kind=kind)
        for kind in kinds
    ]
    return {row.kind: str(row.public_id) for row in rows}


def refusals_of(run_id: str) -> list[dict[str, Any]]:
    """Return which calls for a run were refused, and how often."""
    from runners.models import HostCallRefusal

    rows = HostCallRefusal.objects.filter(run__public_id=run_id).order_by("pk")
    return [dict(row) for row in rows.values("action", "code", "count", "plugin")]


def deliveries_of(bot: str) -> list[dict[str, Any]]:
    """Return what a bot has said or will say, oldest first."""
    from runners.models import Delivery

    rows = Delivery.objects.filter(bot_id=bot).order_by("pk")
    return [{"id": str(row.public_id), "text": row.payload["text"]} for row in rows]


def sent_by(bot: str) -> dict[str, list[Any]]:
    """Return events `message.sent` of a bot, and the lines of transcripts they have."""
    from runners.models import EventLog, TranscriptItem

    events = EventLog.objects.filter(bot_id=bot, type="message.sent").order_by("pk")
    lines = TranscriptItem.objects.filter(event__in=events).order_by("pk")
    return {
        "actors": [one.actor for one in events],
        "sources": [one.source for one in events],
        "lines": [list(line) for line in lines.values_list("role", "text", "run")],
    }


def transcript_of(conversation: str) -> list[dict[str, Any]]:
    """Return what a conversation's people and agents said, oldest first."""
    from runners.models import TranscriptItem

    rows = TranscriptItem.objects.filter(conversation__public_id=conversation)
    kept = rows.order_by("seq").values("role", "item_type", "text", "metadata")
    return [dict(row) for row in kept]
