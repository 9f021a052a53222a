"""Saving agents: versions, secrets, audit; under concurrency too."""

import json
import threading

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, connections

from agents.models import Agent, AgentVersion, Model, ModelProvider, RunnerDescriptor
from agents.registry.tokens import (
    create_plugin_token,
    revoke_plugin_tokens,
    verify_plugin_token,
)
from agents.services import (
    archive_agent,
    check_config,
    mask_config,
    remove_agent,
    restore_version,
    reveal_config,
    save_agent,
)
from langbot.core.models import AuditLog
from tests.factories import AgentFactory, WorkspaceFactory

RUNNER = "plugin:acme/tools/main"
SECRET = "s3cret-value-of-a-test"
SCHEMA = [
    {"name": "api-key", "type": "secret"},
    {"name": "model", "type": "llm-model-selector"},
    {"name": "timeout", "type": "integer", "default": 60},
    {"name": "title", "type": "string"},
]


@pytest.fixture
def runner(db):
    return RunnerDescriptor.objects.create(
        runner_id=RUNNER, plugin="acme/tools", kind="Runner", config_schema=SCHEMA
    )


def build(workspace, **fields):
    return AgentFactory.build(workspace=workspace, runner_id=RUNNER, **fields)


def message_of(act):
    with pytest.raises(ValidationError) as caught:
        act()
    return caught.value.message_dict


def test_each_save_makes_the_next_version(workspace, runner):
    agent = save_agent(build(workspace, name="One"), author="ada")
    agent.name = "Two"
    save_agent(agent, author="bob")
    versions = AgentVersion.objects.filter(agent=agent).order_by("number")
    assert [(v.number, v.data["name"], v.author) for v in versions] == [
        (1, "One", "ada"),
        (2, "Two", "bob"),
    ]
    assert Agent.objects.get().version == 2
    assert Agent.objects.get().runner_config == {"timeout": 60}


def test_refused_save_changes_nothing(workspace, runner):
    agent = save_agent(build(workspace), author="ada")
    agent.runner_config = {"timeout": 3601, "surplus": 1}
    agent.name = "Changed"
    assert message_of(lambda: save_agent(agent, author="ada")) == {
        "runner_config": ["surplus: The runner has no such setting."]
    }
    agent.runner_config = {"timeout": 3601}
    found = message_of(lambda: save_agent(agent, author="ada"))
    assert found == {"runner_config": ["timeout: A run takes at most 3600 seconds."]}
    stored = Agent.objects.get()
    assert (stored.version, stored.name) != (2, "Changed")
    assert AgentVersion.objects.count() == 1


def test_wrong_policy_is_refused_under_its_field(workspace):
    agent = build(workspace, resource_policy={"modles": []})
    assert message_of(lambda: save_agent(agent, author="ada")).keys() == {
        "resource_policy"
    }


@pytest.mark.parametrize("types", ["message.received", [1], [""], {"a": 1}])
def test_event_types_must_be_a_list_of_names(workspace, types):
    agent = build(workspace, event_types=types)
    assert "event_types" in message_of(lambda: save_agent(agent, author="ada"))


def test_secret_is_sealed_masked_and_revealed(workspace, runner):
    agent = build(workspace, runner_config={"api-key": SECRET})
    save_agent(agent, author="ada")
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT runner_config FROM {Agent._meta.db_table}"  # noqa: S608  a constant
        )
        assert SECRET not in str(cursor.fetchall())
    stored = Agent.objects.get()
    assert reveal_config(stored.runner_config)["api-key"] == SECRET
    assert mask_config(stored.runner_config)["api-key"] == "[redacted]"
    kept = json.dumps(
        [
            *AgentVersion.objects.values_list("data", flat=True),
            *AuditLog.objects.values_list("before", "after"),
        ]
    )
    assert SECRET not in kept
    assert "$secret" not in kept


def test_mask_sent_back_keeps_the_secret(workspace, runner):
    agent = save_agent(
        build(workspace, runner_config={"api-key": SECRET}), author="ada"
    )
    agent.runner_config = {**mask_config(agent.runner_config), "title": "New"}
    save_agent(agent, author="ada")
    stored = Agent.objects.get().runner_config
    assert reveal_config(stored) == {"api-key": SECRET, "title": "New", "timeout": 60}


@pytest.mark.parametrize("sent", [mask_config, dict])
def test_another_runner_does_not_inherit_a_secret(workspace, runner, sent):
    agent = save_agent(
        build(workspace, runner_config={"api-key": SECRET}), author="ada"
    )
    other = RunnerDescriptor.objects.create(
        runner_id="plugin:evil/tools/main",
        plugin="evil/tools",
        kind="Runner",
        config_schema=SCHEMA,
    )
    agent.runner_id = other.runner_id
    agent.runner_config = sent(agent.runner_config)
    save_agent(agent, author="ada")
    assert "api-key" not in Agent.objects.get().runner_config


def test_secret_of_a_runner_that_never_connected_is_sealed_too(workspace):
    config = {"api-key": SECRET, "title": "x", "max-tokens": 5}
    save_agent(build(workspace, runner_config=config), author="ada")
    stored = Agent.objects.get().runner_config
    assert SECRET not in json.dumps(stored)
    assert reveal_config(stored) == config


def test_runner_and_models_of_another_workspace_are_refused(workspace, runner):
    theirs = WorkspaceFactory.create()
    provider = ModelProvider.objects.create(workspace=theirs, name="There")
    model = str(Model.objects.create(provider=provider, name="m").public_id)
    agent = build(workspace, runner_config={"model": model})
    assert message_of(lambda: save_agent(agent, author="ada")) == {
        "runner_config": ["model: Choose a model of the agent's workspace."]
    }
    assert message_of(lambda: check_config(agent)).keys() == {"model"}
    runner.workspace = theirs
    runner.save()
    agent.runner_config = {}
    assert message_of(lambda: save_agent(agent, author="ada")).keys() == {"runner_id"}


def test_reference_to_a_deleted_model_does_not_block_other_changes(workspace, runner):
    provider = ModelProvider.objects.create(workspace=workspace, name="Here")
    model = Model.objects.create(provider=provider, name="m")
    config = {"model": str(model.public_id)}
    agent = save_agent(build(workspace, runner_config=config), author="ada")
    model.delete()
    agent.name = "Renamed"
    save_agent(agent, author="ada")
    assert Agent.objects.get().name == "Renamed"


def test_restore_brings_content_back_and_keeps_the_secret(workspace, runner):
    agent = save_agent(
        build(workspace, name="One", runner_config={"api-key": SECRET}), author="ada"
    )
    agent.name, agent.event_types = "Two", ["*"]
    save_agent(agent, author="ada")
    restored = restore_version(agent, 1, author="bob")
    assert (restored.name, restored.event_types, restored.version) == (
        "One",
        ["message.received"],
        3,
    )
    assert reveal_config(restored.runner_config)["api-key"] == SECRET
    with pytest.raises(AgentVersion.DoesNotExist):
        restore_version(agent, 9, author="bob")


def test_every_change_is_audited_with_what_differed(workspace, runner):
    agent = save_agent(build(workspace, name="One"), author="ada")
    agent.name = "Two"
    save_agent(agent, author="bob")
    archive_agent(agent, author="eve")
    archive_agent(agent, author="eve")
    entries = AuditLog.objects.filter(object_id=str(agent.public_id)).order_by("pk")
    assert [(entry.actor, entry.action) for entry in entries] == [
        ("ada", "created"),
        ("bob", "changed"),
        ("eve", "archived"),
    ]
    assert (entries[1].before, entries[1].after) == ({"name": "One"}, {"name": "Two"})


def test_unused_agent_is_deleted_a_used_one_archived(workspace, runner):
    unused = save_agent(build(workspace), author="ada")
    assert remove_agent(unused, author="ada") is True
    assert not Agent.objects.exists()
    used = save_agent(build(workspace), author="ada")
    from tests.runners.admin_rows import make_run

    make_run(used)
    assert remove_agent(used, author="ada") is False
    assert used.archived_at is not None
    assert not Agent.objects.get().enabled


def in_threads(acts):
    """Run the acts at the same moment; returns what each raised, or None."""
    barrier = threading.Barrier(len(acts))
    outcomes: list[Exception | None] = [None] * len(acts)

    def run(index):
        barrier.wait()
        try:
            acts[index]()
        except Exception as error:  # noqa: BLE001  the test looks at all of them
            outcomes[index] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.mark.django_db(transaction=True)
def test_concurrent_saves_never_lose_or_repeat_a_number(runner):
    agent = save_agent(build(WorkspaceFactory()), author="start")
    rounds, writers = 20, 4
    for round_number in range(rounds):
        copies = [Agent.objects.get(pk=agent.pk) for _ in range(writers)]
        for index, copy in enumerate(copies):
            copy.name = f"{round_number}.{index}"
        outcomes = in_threads(
            [lambda copy=copy: save_agent(copy, author=copy.name) for copy in copies]
        )
        assert outcomes == [None] * writers
    versions = list(AgentVersion.objects.filter(agent=agent).order_by("number"))
    assert [v.number for v in versions] == list(range(1, rounds * writers + 2))
    assert len({v.author for v in versions}) == rounds * writers + 1
    stored = Agent.objects.get()
    assert (stored.version, stored.name) == (versions[-1].number, versions[-1].author)


def test_plugin_token_is_known_until_revoked(workspace):
    token, plain = create_plugin_token("ci", workspace=workspace, plugins=["a/b"])
    assert len(plain) >= 32
    assert plain not in (token.token_hash, token.prefix)
    found = verify_plugin_token(plain)
    assert found is not None
    assert (found, found.plugins, found.workspace) == (token, ["a/b"], workspace)
    token.refresh_from_db()
    assert token.last_used_at is not None
    assert verify_plugin_token(plain + "x") is None
    assert verify_plugin_token("") is None
    assert revoke_plugin_tokens([token.pk]) == 1
    assert revoke_plugin_tokens([token.pk]) == 0
    assert verify_plugin_token(plain) is None
