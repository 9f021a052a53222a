"""Runs with a row of everything that a host call can reach, marked with their name.

Used in the test's own process and, by `RunningHost.inside`, in a host's.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from agents.models import Agent, Model, ModelProvider, RunnerDescriptor
from agents.resources.storage import Shelf
from langbot.core.models import Workspace
from runners.ledger.scopes import scope_keys
from runners.ledger.state_store import StateWrite, write_state
from runners.models import AgentRun, RunEvent, TranscriptItem
from tests.support.stored_files import store_bytes

EVERYTHING: dict[str, list[str]] = {
    "models": ["invoke", "stream", "rerank", "count_tokens"],
    "tools": ["detail", "call"],
    "knowledge_bases": ["list", "retrieve"],
    "history": ["page", "search"],
    "events": ["get", "page"],
    "storage": ["plugin", "workspace"],
}
CAPABILITIES = ["streaming", "tool_calling", "knowledge_retrieval", "steering"]
MARK = "belongs to"  # in every text of a world, before its name


def make_agent(name: str, place: str, plugin: str) -> Agent:
    """Make an agent on `plugin:<plugin>/default` with a model, all granted."""
    workspace, _ = Workspace.objects.get_or_create(slug=place, defaults={"name": place})
    runner_id = f"plugin:{plugin}/default"
    RunnerDescriptor.objects.get_or_create(
        runner_id=runner_id,
        defaults={
            "plugin": plugin,
            "kind": "Runner",
            "permissions": EVERYTHING,
            "capabilities": dict.fromkeys(CAPABILITIES, True),
        },
    )
    models = [_model(workspace, kind) for kind in ("llm", "rerank", "embedding")]
    return Agent.objects.create(
        workspace=workspace,
        slug=name,
        name=name,
        runner_id=runner_id,
        runner_config={"prompt": f"{MARK} {name}", "timeout": 300},
        resource_policy={
            "models": [str(model.public_id) for model in models],
            "workspace_storage": True,
        },
    )


def _model(workspace: Workspace, kind: str = "llm") -> Model:
    provider, _ = ModelProvider.objects.get_or_create(
        workspace=workspace, name="demo", defaults={"kind": "demo"}
    )
    return Model.objects.get_or_create(provider=provider, name=kind, kind=kind)[0]


def furnish(run: AgentRun, name: str) -> dict[str, str]:
    """Give a run's conversation one of everything; returns the ids it may name.

    Storage has the name of the workspace and the plugin: their runs share it.
    """
    text = f"{MARK} {name} secret"
    TranscriptItem.objects.create(
        conversation=run.conversation,
        seq=1000 + TranscriptItem.objects.filter(conversation=run.conversation).count(),
        role="assistant",
        text=text,
        run=run,
    )
    RunEvent.objects.create(
        run=run,
        seq=run.last_seq + 1000,
        type="processor.log",
        data={"text": text},
        created_at=datetime.now(UTC),
    )
    artifact = store_bytes(
        run.workspace,
        text.encode(),
        type="file",
        mime_type="text/plain",
        name=f"{text}.txt",
        source="runner",
        conversation=run.conversation,
        run=run,
    )
    _keep(run, text)
    return {
        "run": str(run.public_id),
        "conversation": str(run.conversation.public_id),
        "event": run.event.event_id,
        "artifact": str(artifact.public_id),
        "model": str(_model(run.workspace).public_id),
        "rerank": str(_model(run.workspace, "rerank").public_id),
        "embedding": str(_model(run.workspace, "embedding").public_id),
        "base": f"base-{name}",
    }


def _keep(run: AgentRun, text: str) -> None:
    for scope, scope_key in scope_keys(run).items():
        where = (run.workspace_id, run.runner_id, scope, scope_key)
        write_state(StateWrite(*where, "k", text))
        write_state(StateWrite(*where, text[:100], text))
    plugin = run.runner_id.removeprefix("plugin:").rpartition("/")[0]
    place = f"{MARK} {run.workspace.slug}"
    for owner, stored in ((plugin, f"{place} {plugin}"), ("", place)):
        Shelf(run.workspace_id, owner).write("k", stored.encode())
        Shelf(run.workspace_id, owner).write(stored, stored.encode())


def furnish_by_id(run_id: str, name: str) -> dict[str, str]:
    """`furnish` for a run of a host."""
    rows = AgentRun.objects.select_related("conversation", "workspace", "event")
    return furnish(rows.get(public_id=run_id), name)


def start_run(name: str, place: str, plugin: str, text: str) -> str:
    """Make an agent and send it an event, as a webhook does; returns the run's id."""
    from runners.admission import Incoming, admit

    workspace = Workspace.objects.filter(slug=place).first()
    agent = Agent.objects.filter(slug=name).first()
    if agent is None:
        agent = make_agent(name, place, plugin)
    admitted: Any = admit(
        Incoming(
            workspace=workspace or agent.workspace,
            source="test:1",
            event_id=str(uuid4()),
            type="message.received",
            trigger_source="api",
            agent=agent,
            external_conversation=str(uuid4()),
            input={"text": text},
        )
    )
    return str(admitted.run.public_id)


def furnish_workspace(place: str, secret: str) -> dict[str, str]:
    """Make a workspace with a bot and a model, both of which have a secret."""
    from platforms.models import Bot
    from runners.models import Conversation

    workspace, _ = Workspace.objects.get_or_create(slug=place, defaults={"name": place})
    bot = Bot(workspace=workspace, slug=place, name=f"{place} bot", adapter="webhook")
    bot.secrets, bot.config = {"secret": secret}, {"callback_url": ""}
    bot.save()
    provider = ModelProvider(workspace=workspace, name="cloud", api_key=secret)
    provider.save()
    model = Model.objects.create(provider=provider, name="large")
    Conversation.objects.create(
        workspace=workspace,
        key=f"bot:{place}",
        bot_id=bot.public_id,
        external_id=f"{place} room",
    )
    return {"bot": str(bot.public_id), "model": str(model.public_id)}
