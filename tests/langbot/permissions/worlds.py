"""Two workspaces with a row of everything, and people of every role in the first.

Every text of the second one has its name in it, so that one that leaks is seen.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from agents.models import (
    AgentBinding,
    Model,
    ModelProvider,
    PackageProcess,
    Plugin,
    PluginConnection,
    RunnerDescriptor,
)
from agents.registry.tokens import create_plugin_token
from agents.services import save_agent, save_binding
from artifacts.models import Artifact
from langbot.core.accounts import create_service_account
from langbot.core.audit import record_act
from langbot.core.models import (
    AuditLog,
    Membership,
    Notification,
    NotificationPreference,
    Workspace,
)
from langbot.core.tenancy import path_to_workspace
from langbot.core.tokens import create_api_token
from platforms.models import Bot
from runners.models import (
    Conversation,
    Delivery,
    HostCall,
    HostCallRefusal,
    QueuedMessage,
    RemoteRuntime,
    RunnerState,
    ToolGrant,
    TranscriptItem,
    WorkerNode,
)
from tests.factories import AgentFactory
from tests.runners.admin_rows import (
    add_events,
    add_money,
    add_prices,
    make_action,
    make_run,
)

OWN, OTHER = "own-place", "zz-foreign"
# Role -> its groups; everybody but `nowhere` is a member of the first workspace.
ROLES = {
    "viewer": ["viewers"],
    "operator": ["operators"],
    "approver": ["approvers"],
    "auditor": ["auditors"],
    "admin": ["admins"],
    "superuser": [],
    "member": [],
    "nowhere": ["admins"],
}


@dataclass
class World:
    """One workspace; `rows` by model label, `tokens` by role."""

    name: str
    workspace: Workspace
    rows: dict[str, Any] = field(default_factory=dict)
    users: dict[str, Any] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    def add(self, row):
        self.rows.setdefault(row._meta.label, row)
        return row


def build_world(name):
    """Make a workspace with a row of every model."""
    workspace = Workspace.objects.create(slug=name, name=f"The {name}")
    world = World(name, workspace)
    world.add(workspace)
    _add_access(world)
    _add_configuration(world)
    _add_records(world)
    world.add(AuditLog.objects.filter(workspace=workspace).first())
    return world


def _add_access(world):
    owner = get_user_model().objects.create_user(f"{world.name}-owner")
    world.add(world.workspace.memberships.create(user=owner, role="admin"))
    token, _plain = create_api_token(owner, world.workspace, f"{world.name} ci")
    world.add(token)
    account = create_service_account(
        world.workspace, f"{world.name}-crm", author=f"{world.name}-owner"
    )
    world.add(account)
    token, _plain = create_api_token(account.user, world.workspace, f"{world.name} x")
    world.rows["token of account"] = token


def _add_configuration(world):
    name, workspace = world.name, world.workspace
    token = world.add(create_plugin_token(f"{name} home", workspace=workspace)[0])
    runner = f"plugin:{name}/tools/main"
    now = datetime.now(UTC)
    world.add(
        RemoteRuntime.objects.create(
            workspace=workspace,
            token=token,
            runtime_id=f"{name} far",
            plugin=f"{name}/tools",
            connection_id=uuid4(),
            heartbeat_at=now,
            heartbeat_deadline_at=now,
        )
    )
    world.add(
        RunnerDescriptor.objects.create(
            runner_id=runner,
            plugin=f"{name}/tools",
            kind="Runner",
            label={"en_US": f"{name} tools"},
            workspace=workspace,
        )
    )
    plugin = Plugin(name=f"{name}/tools", workspace=workspace, readme=name)
    plugin.icon, plugin.icon_type = b"GIF89a", "image/gif"
    plugin.save()
    plugin.versions.create(version="1.0", sha256="0" * 64, size=1, status="ready")
    PackageProcess.objects.create(plugin=world.add(plugin))
    world.add(
        PluginConnection.objects.create(
            token=token,
            workspace=workspace,
            plugin=f"{name}/tools",
            runners=[runner],
            web_node=f"{name} node",
            status="online",
        )
    )
    provider = ModelProvider(workspace=workspace, name=f"{name} cloud", api_key=name)
    provider.save()
    world.add(provider)
    world.add(Model.objects.create(provider=provider, name=f"{name} model"))
    agent = AgentFactory.build(
        workspace=workspace, slug=f"{name}-agent", name=f"{name} agent"
    )
    agent.runner_id = runner
    world.add(save_agent(agent, author=f"{name}-owner"))
    world.add(agent.versions.get())
    bot = Bot(workspace=workspace, slug=f"{name}-bot", name=f"{name} bot")
    bot.adapter, bot.secrets = "webhook", {"secret": name}
    bot.save()
    world.add(bot)
    binding = AgentBinding(agent=agent, scope="bot", scope_ref=f"{name}-bot")
    world.add(save_binding(binding, author=f"{name}-owner"))


def _add_records(world):
    name, workspace = world.name, world.workspace
    agent, bot = world.rows["langbot_agents.Agent"], world.rows["langbot_platforms.Bot"]
    run = world.add(make_run(agent, "failed", notes=name, error_code=name))
    world.add(run.conversation)
    world.add(run.event)
    type(run.conversation).objects.filter(pk=run.conversation_id).update(title=name)
    add_events(run, ("message.delta", {"text": f"{name} says"}))
    world.add(
        TranscriptItem.objects.create(
            conversation=run.conversation, seq=1, role="user", text=name, run=run
        )
    )
    world.add(
        Delivery.objects.create(
            workspace=workspace,
            run=run,
            conversation=run.conversation,
            bot_id=bot.public_id,
            target=name,
            status="failed",
            payload={"text": name},
            next_attempt_at=datetime.now(UTC),
        )
    )
    world.add(
        HostCall.objects.create(run=run, invocation=1, plugin_seq_id=4, action=name)
    )
    now = datetime.now(UTC)
    world.add(
        HostCallRefusal.objects.create(
            run=run, action=name, code=name, count=1, first_at=now, last_at=now
        )
    )
    world.add(
        QueuedMessage.objects.create(
            conversation=run.conversation, event=run.event, agent=agent
        )
    )
    world.add(
        RunnerState.objects.create(
            workspace=workspace,
            runner_id=agent.runner_id,
            scope="runner",
            scope_key=name,
            key=name,
            value=name,
        )
    )
    world.add(
        Artifact.objects.create(
            workspace=workspace,
            type="image",
            name=name,
            source="platform",
            storage="blob",
        )
    )
    _add_asked(world, agent, bot)
    _add_money(world, agent, run)
    record_act(f"{name}-owner", "looked at", run)


def _add_money(world, agent, run):
    """Add what a model call used, and what may be spent."""
    person = f"api:{world.name}"
    for row in add_money(agent, run, person):
        world.add(row)
    for row in add_prices(world.workspace, person):
        world.add(row)


def _add_asked(world, agent, bot):
    """Add what waits for a person, what one allowed, and who is told by mail."""
    place = Conversation.objects.create(
        workspace=world.workspace, key=f"{world.name} asked", bot_id=bot.public_id
    )
    run = make_run(agent, "requires_action", conversation=place)
    action = world.add(make_action(run, tool_name=f"{world.name} tool"))
    world.add(
        ToolGrant.objects.create(
            workspace=world.workspace,
            agent=agent,
            tool_name=f"{world.name} tool",
            granted_by_name=f"{world.name}-owner",
            action=action,
        )
    )
    owner = world.rows["langbot_core.Membership"].user
    told = {"workspace": world.workspace, "user": owner}
    world.add(NotificationPreference.objects.create(**told))
    world.add(
        Notification.objects.create(
            workspace=world.workspace,
            recipient=owner,
            kind="bot",
            key=f"{world.name} key",
            not_before=datetime.now(UTC),
        )
    )


def build_worlds():
    """Make both workspaces, and the people; returns (own, other)."""
    now = datetime.now(UTC)
    WorkerNode.objects.create(name="host:1", started_at=now, heartbeat_at=now)
    own, other = build_world(OWN), build_world(OTHER)
    for role, groups in ROLES.items():
        user = get_user_model().objects.create_user(
            f"the-{role}", is_staff=True, is_superuser=role == "superuser"
        )
        user.groups.set(Group.objects.filter(name__in=groups))
        if role != "nowhere":
            rank = Membership.Role.ADMIN if role == "admin" else Membership.Role.MEMBER
            own.workspace.memberships.create(user=user, role=rank)
        own.users[role] = user
        own.tokens[role] = create_api_token(user, own.workspace, f"of {role}")[1]
    own.rows["langbot_core.WorkerNode"] = WorkerNode.objects.get()
    return own, other


def bounded_models():
    """Return the models in the admin whose rows belong to a workspace."""
    return [model for model in admin.site._registry if path_to_workspace(model)]
