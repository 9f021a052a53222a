"""Which plugin process may serve which runners, and what it said about them.

Called from the web node's own threads; each function is one short transaction.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Concat, Now

from agents.choices import ConnectionStatus, RunnerRisk
from agents.models import Plugin, PluginConnection, PluginToken, RunnerDescriptor
from agents.registry.harness import classify, executes_code
from agents.registry.models import UNUSABLE
from agents.registry.tokens import verify_plugin_token
from langbot.lib.buckets import LocalBucket
from langbot.lib.models import lock_rows
from runners.protocol.manifest import (
    AGENT_RUNNER_KIND,
    PluginManifest,
    RunnerId,
    RunnerManifest,
)

ANY_PLUGIN = "*"
# Why a row is offline that its web process may bring back: it stalled, or it ended.
NODE_LOST = "the web process ended"
GONE_DAYS = 30  # how long admins see that a plugin was here, or was refused
_TAKEN = (
    "the plugin %(plugin)s belongs to another workspace: register it under another "
    "author or name, or have staff give it a token for all workspaces"
)
_LONGEST_NAME = 190  # with a runner's name of 100 its id fits its column


class RegistrationRefusedError(Exception):
    """The plugin may not connect; the message is told to it and to admins."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection comes from."""

    connection_id: UUID
    web_node: str
    remote: str


@dataclass(frozen=True, slots=True)
class Registered:
    """A connection that serves runners: action to call by runner id."""

    connection_id: UUID
    plugin: str
    workspace: str
    actions: dict[str, str] = field(default_factory=dict)
    has_icon: bool = False
    claimed: dict[UUID, LocalBucket] = field(default_factory=dict, compare=False)
    """Runs that it holds as a remote runtime, as far as its web process knows, and how
    often it may still call within each."""


def workspace_id_of(registered: Registered) -> int | None:
    """Return the key of the workspace that a connection serves, None for all."""
    served = registered.workspace
    return None if served == ANY_PLUGIN else int(served)


def revoked(web_node: str) -> set[UUID]:
    """Return the node's connections whose token is good no more."""
    over = PluginToken.objects.over()
    rows = _online().filter(web_node=web_node, token__in=over)
    return set(rows.values_list("public_id", flat=True))


def disabled_runners() -> set[str]:
    """Return the runners that an admin has switched off, or whose plugin is off."""
    rows = RunnerDescriptor.objects.filter(UNUSABLE)
    return set(rows.values_list("runner_id", flat=True))


def admit_plugin(plain_token: str, plugin: str) -> PluginToken:
    """Return the token if it admits `plugin`; binds an unbound token to it.

    Raises RegistrationRefusedError.
    """
    if len(plugin) > _LONGEST_NAME:
        message = f"author/name is longer than {_LONGEST_NAME} characters"
        raise RegistrationRefusedError(message)
    token = verify_plugin_token(plain_token)
    if token is None:
        message = "the plugin token is wrong or revoked"
        raise RegistrationRefusedError(message)
    if not token.plugins:
        # The first plugin that registers owns the token; one of two racing wins.
        bound = PluginToken.objects.filter(pk=token.pk, plugins=[])
        if not bound.update(plugins=[plugin]):
            token.refresh_from_db()
        else:
            token.plugins = [plugin]
    if ANY_PLUGIN not in token.plugins and plugin not in token.plugins:
        message = f"this token does not admit the plugin {plugin}"
        raise RegistrationRefusedError(message)
    return token


def register(
    token: PluginToken,
    manifest: PluginManifest,
    origin: Origin,
    unusable: Mapping[str, str],
) -> Registered:
    """Record the connection and its runners; `unusable` are reasons by runner id.

    Raises RegistrationRefusedError when the plugin or one of the runners is another
    workspace's.
    """
    with transaction.atomic():
        # The plugin before its runners: who switches it locks in this order too.
        plugin = describe_plugin(token, manifest.plugin, manifest.version)
        actions = _describe_runners((token, plugin), manifest, unusable)
        reasons = [_list_invalid(token, manifest, bad) for bad in manifest.invalid]
        reason = "\n".join([*unusable.values(), *reasons])
        _list_online(token, manifest, origin, sorted(actions), reason)
    workspace = str(token.workspace_id) if token.workspace_id else ANY_PLUGIN
    return Registered(
        origin.connection_id,
        manifest.plugin,
        workspace,
        actions,
        has_icon=manifest.has_icon,
    )


def record_refusal(plain_token: str, plugin: str, origin: Origin, reason: str) -> None:
    """List a refused plugin of a known token with the reason.

    A plugin that comes again and again has one row, not one for every try.
    """
    token = verify_plugin_token(plain_token)
    if token is None:
        return
    PluginConnection.objects.update_or_create(
        token=token,
        plugin=plugin[:200],
        status=ConnectionStatus.REFUSED,
        defaults={
            "public_id": origin.connection_id,
            "workspace_id": token.workspace_id,
            "web_node": origin.web_node,
            "remote": origin.remote[:100],
            "reason": reason,
            "disconnected_at": datetime.now(UTC),
        },
    )


def disconnect(connection_id: UUID, reason: str = "") -> None:
    """Mark a connection as gone; idempotent.

    One that was marked as lost is final then: a web process that reads its rows at
    the same time does not bring it back.
    """
    open_or_lost = Q(status=ConnectionStatus.ONLINE) | Q(reason__startswith=NODE_LOST)
    PluginConnection.objects.filter(open_or_lost, public_id=connection_id).update(
        status=ConnectionStatus.OFFLINE,
        reason=reason,
        disconnected_at=datetime.now(UTC),
    )


def online_runner_ids() -> set[str]:
    """Return the ids of runners that some connection serves now."""
    lists = _online().order_by().values_list("runners", flat=True)
    return {runner for runners in lists for runner in runners}


def online_nodes() -> list[str]:
    """Return the web nodes that hold online connections, as the table says."""
    return list(_online().order_by().values_list("web_node", flat=True).distinct())


def disconnect_node(web_node: str) -> int:
    """Mark every connection of a dead web node as gone; `reconnect` takes it back."""
    return (
        _online()
        .filter(web_node=web_node)
        .update(
            status=ConnectionStatus.OFFLINE,
            reason=Concat(Value(f"{NODE_LOST}\n"), F("reason")),
            disconnected_at=datetime.now(UTC),
        )
    )


def reconnect(connection_ids: Iterable[UUID]) -> int:
    """Mark connections as online again that were given up while their node stalled.

    Called by the node that holds their sockets; returns how many. Reads only, unless
    there is one.
    """
    lost = PluginConnection.objects.filter(
        public_id__in=connection_ids,
        status=ConnectionStatus.OFFLINE,
        reason__startswith=NODE_LOST,
    )
    found = list(lost.values_list("pk", "reason"))
    return sum(
        # By its reason again: the socket may have closed meanwhile.
        lost.filter(pk=key).update(
            status=ConnectionStatus.ONLINE,
            reason=reason.removeprefix(NODE_LOST).lstrip("\n"),
            disconnected_at=None,
        )
        for key, reason in found
    )


def purge_gone() -> int:
    """Delete connections that have been over for 30 days; returns how many."""
    before = Now() - timedelta(days=GONE_DAYS)
    gone = PluginConnection.objects.filter(disconnected_at__lt=before)
    return gone.exclude(status=ConnectionStatus.ONLINE).delete()[0]


def _online() -> QuerySet[PluginConnection]:
    return PluginConnection.objects.filter(status=ConnectionStatus.ONLINE)


def _locked(
    token: PluginToken, runners: Iterable[RunnerManifest]
) -> dict[str, RunnerDescriptor]:
    """Create what nobody described yet and lock all: owners do not change meanwhile."""
    ids = sorted(runner.id for runner in runners)
    new = [RunnerDescriptor(runner_id=one, workspace=token.workspace) for one in ids]
    RunnerDescriptor.objects.bulk_create(new, ignore_conflicts=True)
    rows = lock_rows(RunnerDescriptor.objects.filter(runner_id__in=ids))
    return {row.runner_id: row for row in rows}


def _list_online(
    token: PluginToken,
    manifest: PluginManifest,
    origin: Origin,
    runners: list[str],
    reason: str,
) -> None:
    PluginConnection.objects.create(
        public_id=origin.connection_id,
        token=token,
        workspace_id=token.workspace_id,
        plugin=manifest.plugin,
        version=manifest.version[:50],
        runners=runners,
        web_node=origin.web_node,
        remote=origin.remote[:100],
        status=ConnectionStatus.ONLINE,
        reason=reason,
    )


def _describe_runners(
    source: tuple[PluginToken, Plugin],
    manifest: PluginManifest,
    unusable: Mapping[str, str],
) -> dict[str, str]:
    """Describe the plugin's runners; returns the action that calls each usable one."""
    rows = _locked(source[0], manifest.runners)
    usable = [
        _describe(rows[runner.id], source, runner, unusable)
        for runner in manifest.runners
    ]
    return {
        runner.id: "run_agent" if runner.kind == AGENT_RUNNER_KIND else "run_runner"
        for runner in usable
        if runner is not None
    }


def _describe(
    row: RunnerDescriptor,
    source: tuple[PluginToken, Plugin],
    runner: RunnerManifest,
    unusable: Mapping[str, str],
) -> RunnerManifest | None:
    token, plugin = source
    if token.workspace_id is not None:
        if row.workspace_id is None:
            # It serves its own workspace, but only a token for all may redescribe
            # a runner that all use.
            return None if runner.id in unusable else runner
        if row.workspace_id != token.workspace_id:
            message = f"{runner.id} belongs to another workspace"
            raise RegistrationRefusedError(message)
    is_harness = executes_code(runner.config_schema)
    classify(row, RunnerRisk.HARNESS if is_harness else row.risk)
    RunnerDescriptor.objects.filter(pk=row.pk).update(
        workspace_id=token.workspace_id,
        enabled=row.enabled,
        risk=row.risk,
        acknowledged_at=row.acknowledged_at,
        plugin_enabled=plugin.enabled or not _is_over(plugin, token),
        archived_at=None,
        last_error=unusable.get(runner.id, ""),
        last_seen_at=datetime.now(UTC),
        **_said_of(runner),
    )
    return None if runner.id in unusable else runner


def _said_of(runner: RunnerManifest) -> dict[str, Any]:
    """Return what the plugin itself says of a runner, by column."""
    return {
        "label": runner.label,
        "description": runner.description,
        "plugin": f"{runner.author}/{runner.plugin}",
        "version": runner.version[:50],
        "kind": runner.kind,
        "usages": list(runner.usages),
        "event_patterns": list(runner.event_patterns),
        "capabilities": runner.capabilities.model_dump(),
        "permissions": {
            name: list(operations) for name, operations in runner.permissions.items()
        },
        "config_schema": runner.config_schema,
        "manifest": runner.raw,
    }


def describe_plugin(token: PluginToken, name: str, version: str) -> Plugin:
    """Note that a plugin is here; one that was archived is back.

    Who has the token of a workspace describes plugins of that workspace only. Raises
    RegistrationRefusedError where the name is taken by another workspace: the ids of
    runners, which agents keep, are made of it.
    """
    new = {"workspace_id": token.workspace_id}
    Plugin.objects.get_or_create(name=name, defaults=new)
    (plugin,) = lock_rows(Plugin.objects.filter(name=name))
    if not _may_serve(token, plugin):
        raise RegistrationRefusedError(_TAKEN % {"plugin": name})
    if token.workspace_id in (None, plugin.workspace_id):
        plugin.workspace_id = token.workspace_id
        plugin.version, plugin.archived_at = version[:50], None
        plugin.last_seen_at = datetime.now(UTC)
        plugin.save(
            update_fields=["workspace", "version", "archived_at", "last_seen_at"]
        )
    return plugin


def _may_serve(token: PluginToken, plugin: Plugin) -> bool:
    """Whether both are of one workspace, or one of them is for all."""
    either = (token.workspace_id, plugin.workspace_id)
    return None in either or either[0] == either[1]


def _is_over(plugin: Plugin, token: PluginToken) -> bool:
    """Whether the plugin's switch concerns what this token serves."""
    return plugin.workspace_id in (None, token.workspace_id)


def _list_invalid(token: PluginToken, manifest: PluginManifest, bad: Any) -> str:
    reason = f"{bad.kind or 'component'} {bad.name or '?'}: {bad.reason}"
    if bad.name and "/" not in bad.name and ":" not in bad.name:
        runner_id = str(RunnerId(manifest.author, manifest.name, bad.name))
        RunnerDescriptor.objects.get_or_create(
            runner_id=runner_id,
            defaults={
                "workspace_id": token.workspace_id,
                "plugin": manifest.plugin,
                "kind": bad.kind[:20],
                "label": {"en_US": bad.name},
            },
        )
        listed = RunnerDescriptor.objects.filter(runner_id=runner_id)
        listed.filter(workspace=token.workspace).update(
            last_error=bad.reason, last_seen_at=datetime.now(UTC)
        )
    return reason
