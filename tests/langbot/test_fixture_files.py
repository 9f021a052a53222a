"""Configuration as Django fixtures: by natural keys, secrets encrypted."""

import json

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.core.serializers.base import DeserializationError

from agents.choices import ModelKind, ProviderKind
from agents.models import Agent, AgentBinding, AgentVersion, Model, ModelProvider
from agents.services import save_agent
from langbot.core.models import AuditLog, Membership, Workspace
from platforms.models import Bot
from tests.factories import AgentBindingFactory, BotFactory, WorkspaceFactory

# In the order of deletion; what the documentation tells people to dump.
CONFIGURATION = [
    AgentBinding,
    AgentVersion,
    Agent,
    Model,
    ModelProvider,
    Bot,
    Workspace,
]


@pytest.fixture
def configured(workspace, user):
    provider = ModelProvider.objects.create(
        workspace=workspace, name="Lab", kind=ProviderKind.OPENAI, api_key="sesame-key"
    )
    model = Model.objects.create(provider=provider, name="m", kind=ModelKind.LLM)
    agent = Agent(
        workspace=workspace,
        slug="helper",
        name="Helper",
        owner=user,
        runner_id="plugin:team/helper/default",
        runner_config={"model": {"primary": str(model.public_id)}},
    )
    save_agent(agent, author="ada")
    bot = BotFactory(
        workspace=workspace, slug="shop", secrets={"token": "sesame-token"}
    )
    AgentBindingFactory(agent=agent, scope="bot", scope_ref=bot.slug)
    AgentBindingFactory(agent=agent, priority=5)


def dump(path):
    labels = [model._meta.label for model in CONFIGURATION]
    natural = {"use_natural_foreign_keys": True, "use_natural_primary_keys": True}
    call_command("dumpdata", *labels, **natural, output=str(path), verbosity=0)
    return json.loads(path.read_text())


def content(rows):
    """The fixture with its secrets readable: they are encrypted anew each time."""
    from langbot.lib.secrets import decrypt

    for row in rows:
        for name in {"api_key", "secrets"} & row["fields"].keys():
            value = row["fields"][name]
            row["fields"][name] = decrypt(value.removeprefix("encrypted:"))
    return rows


def forget():
    """Leave other rows, whose numbers the lost ones had, in their place."""
    for model in [AuditLog, Membership, *CONFIGURATION]:
        model._base_manager.all()._raw_delete("default")
    other = WorkspaceFactory.create(slug="other")
    WorkspaceFactory(slug="default", name="Another name")
    BotFactory(workspace=other)
    ModelProvider.objects.create(workspace=other, name="Lab")


def test_configuration_comes_back_in_another_database(configured, tmp_path, user):
    before = dump(tmp_path / "before.json")
    assert not [row for row in before if "pk" in row]
    forget()
    call_command("loaddata", tmp_path / "before.json", verbosity=0)
    call_command("loaddata", tmp_path / "before.json", verbosity=0)
    after = [
        row
        for row in dump(tmp_path / "after.json")
        if row["fields"].get("slug") != "other"
        and row["fields"].get("workspace") != ["other"]
    ]
    assert content(after) == content(before)
    agent = Agent.objects.get(slug="helper")
    assert agent.owner == user
    assert agent.versions.get().number == agent.version == 1
    assert Bot.objects.get(slug="shop").secrets == {"token": "sesame-token"}
    assert ModelProvider.objects.get(workspace__slug="default").api_key == "sesame-key"


def test_a_fixture_shows_no_secret_and_needs_its_key(configured, tmp_path, settings):
    dump(tmp_path / "rows.json")
    assert "sesame" not in (tmp_path / "rows.json").read_text()
    keys = [Fernet.generate_key().decode()]
    settings.LANGBOT = {**settings.LANGBOT, "SECRET_KEYS": keys}
    with pytest.raises(DeserializationError, match="cannot be decrypted"):
        call_command("loaddata", tmp_path / "rows.json", verbosity=0)


def test_fixtures_may_also_give_secrets_in_the_clear(workspace, tmp_path):
    fields = {
        "workspace": ["default"],
        "name": "New",
        "api_key": "plain",
        "public_id": "0197a4c0-0000-7000-8000-000000000001",
        "created_at": "2026-01-01T00:00:00Z",
    }
    row = {"model": "langbot_agents.modelprovider", "fields": fields}
    (tmp_path / "rows.json").write_text(json.dumps([row]))
    call_command("loaddata", tmp_path / "rows.json", verbosity=0)
    assert ModelProvider.objects.get(name="New").api_key == "plain"
