"""Rows behind every REST route, for tests that walk all of them.

A new resource gets a line in `add_rows`, which makes one more of everything each time
it is called, and, when its routes take ids, one in `places`.
"""

from datetime import UTC, datetime
from itertools import count
from typing import Any

from agents.models import (
    AgentBinding,
    ModelPrice,
    PersonTier,
    PluginConnection,
    Quota,
    RunnerDescriptor,
)
from agents.registry.tokens import create_plugin_token
from agents.services import save_agent
from artifacts.models import Artifact
from langbot.core.accounts import create_service_account
from langbot.core.models import ApiToken, AuditLog, ServiceAccount
from langbot.core.tokens import create_api_token
from platforms.models import Bot
from runners.models import (
    AgentRun,
    Delivery,
    EventLog,
    PendingAction,
    QueuedMessage,
    RunnerState,
    TranscriptItem,
)
from tests.factories import AgentFactory, BotFactory
from tests.runners.admin_rows import (
    add_events,
    add_money,
    add_prices,
    make_action,
    make_run,
)
from tests.support.stored_files import store_bytes

_numbers = count(1)


def add_rows(workspace, user):
    """Make one more row of every resource."""
    number = next(_numbers)
    runner = RunnerDescriptor.objects.create(
        runner_id=f"plugin:acme/helper/r{number}", plugin="acme/helper", kind="Runner"
    )
    agent = AgentFactory.build(workspace=workspace, runner_id=runner.runner_id)
    save_agent(agent, author=user.username)
    agent.name = f"Changed {number}"
    save_agent(agent, author=user.username)
    bot = BotFactory.create(workspace=workspace)
    AgentBinding.objects.create(agent=agent, scope="bot", scope_ref=bot.slug)
    _add_connection(workspace, runner)
    account = create_service_account(workspace, f"program-{number}", author="ada")
    create_api_token(user, workspace, f"token {number}")
    create_api_token(account.user, workspace, f"token {number}")
    add_ledger(agent, bot)


def _add_connection(workspace, runner):
    token, _ = create_plugin_token(f"token of {runner}", workspace=workspace)
    PluginConnection.objects.create(
        token=token,
        workspace=workspace,
        plugin=runner.plugin,
        runners=[runner.runner_id],
        web_node="n1",
        status="online",
    )


def add_ledger(agent, bot):
    """Make a run with all that belongs to one."""
    now = datetime.now(UTC)
    run = make_run(agent, bot_id=bot.public_id)
    add_events(run, ("run.queued", {}), ("run.started", {}), ("run.completed", {}))
    for seq, role in enumerate(("user", "assistant"), 1):
        TranscriptItem.objects.create(
            conversation=run.conversation, seq=seq, role=role, text="Hello", run=run
        )
    RunnerState.objects.create(
        workspace=agent.workspace,
        runner_id=agent.runner_id,
        scope="conversation",
        scope_key=f"key of {run.pk}",
        key="k",
    )
    Delivery.objects.create(
        workspace=agent.workspace,
        run=run,
        conversation=run.conversation,
        bot_id=bot.public_id,
        target="c1",
        payload={"text": "Hello"},
        next_attempt_at=now,
    )
    QueuedMessage.objects.create(
        conversation=run.conversation, event=run.event, agent=agent
    )
    make_action(run)
    add_money(agent, run, "api:user:1")
    add_prices(agent.workspace, f"api:{agent.slug}")
    store_bytes(
        agent.workspace,
        b"Hello",
        type="file",
        mime_type="text/plain",
        name="hello.txt",
        source="runner",
        conversation=run.conversation,
        run=run,
    )


def add_children():
    """Make more rows inside the objects that `places` names."""
    run, account = AgentRun.objects.latest("pk"), ServiceAccount.objects.latest("pk")
    add_events(run, ("message.delta", {"text": "a"}), ("message.delta", {"text": "b"}))
    for seq in (3, 4):
        TranscriptItem.objects.create(
            conversation=run.conversation, seq=seq, role="user", text="More", run=run
        )
        create_api_token(account.user, account.workspace, f"more {seq}")
    other = make_run(run.agent)
    QueuedMessage.objects.create(
        conversation=run.conversation, event=other.event, agent=run.agent
    )
    run.agent.description = "One version more"
    save_agent(run.agent, author="ada")


def places() -> dict[str, dict[str, Any]]:
    """Return what each route with parameters takes, by its name up to the dash."""
    run = AgentRun.objects.latest("pk")
    account = ServiceAccount.objects.latest("pk")
    bot_id = Delivery.objects.latest("pk").bot_id
    bot = {"id": bot_id, "slug": Bot.objects.get(public_id=bot_id).slug}
    agent = {"id": run.agent.public_id, "slug": run.agent.slug, "number": 1}
    binding = AgentBinding.objects.filter(scope="bot").latest("pk")
    queued = QueuedMessage.objects.filter(conversation=run.conversation).latest("pk")
    mine = ApiToken.objects.exclude(user=account.user).latest("pk")
    token = ApiToken.objects.filter(user=account.user).latest("pk")
    return {
        "agent": agent,
        "binding": {"id": binding.public_id},
        "bot": bot,
        "runner": {"id": run.runner_id},
        "event": {"id": EventLog.objects.latest("pk").public_id},
        "conversation": {
            "id": run.conversation.public_id,
            "message_id": queued.public_id,
        },
        "queued": {"id": queued.public_id},
        "run": {"id": run.public_id},
        "run-steering": {"id": run.public_id},
        "artifact": {"id": Artifact.objects.latest("pk").public_id},
        "action": {"id": PendingAction.objects.latest("pk").public_id},
        "delivery": {"id": Delivery.objects.latest("pk").public_id},
        "state": {"id": RunnerState.objects.latest("pk").pk},
        "token": {"id": mine.public_id},
        "service-account": {"id": account.public_id, "token_id": token.public_id},
        "audit": {"id": AuditLog.objects.latest("pk").pk},
        "quota": {"id": Quota.objects.latest("pk").public_id},
        "price": {"id": ModelPrice.objects.latest("pk").public_id},
        "tier": {"id": PersonTier.objects.latest("pk").public_id},
    }
