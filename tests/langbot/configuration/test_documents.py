"""Export, wipe, apply: the same configuration; apply twice: no change."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from agents.models import (
    Agent,
    AgentBinding,
    AgentVersion,
    Model,
    ModelProvider,
)
from agents.services import archive_agent
from langbot.configuration.apply import apply_configuration
from langbot.configuration.documents import read_document
from langbot.configuration.export import export_configuration
from langbot.core.models import AuditLog
from platforms.models import Bot
from tests.factories import AgentFactory, WorkspaceFactory
from tests.langbot.configuration.helpers import (
    RUNNER,
    SECRET,
    apply,
    counts,
    objects,
    wipe,
)


def test_export_wipe_apply_is_equal(full):
    before = export_configuration(full)
    wipe(full)
    applied = apply(full, before)
    assert export_configuration(full) == before
    assert set(objects(applied).values()) == {"created"}
    missing = {(w["object"], w["code"]) for w in applied.warnings}
    assert missing == {
        ("agents/helper", "secret_missing"),
        ("agents/plain", "runner_unknown"),
        ("bots/hook", "secret_missing"),
    }


def test_applying_what_is_there_changes_nothing(full):
    content = export_configuration(full)
    before = counts()
    for _ in range(2):
        assert apply(full, content).changes == []
    assert counts() == before
    agent = Agent.objects.get(slug="helper")
    assert "api-key" in agent.runner_config  # what is not named stays
    assert Bot.objects.get().secrets == {"secret": SECRET}
    assert ModelProvider.objects.get().api_key == SECRET


def test_an_export_is_no_change_after_the_schema_got_new_defaults(full, runner):
    """As on a new installation: its agents are older than the first connection."""
    content = export_configuration(full)
    versions = AgentVersion.objects.count()
    late = {"name": "prefix", "type": "string", "default": "> "}
    runner.config_schema = [*runner.config_schema, late]
    runner.save()
    assert apply(full, content).changes == []
    assert AgentVersion.objects.count() == versions
    content["agents"][0]["runner_config"]["retries"] = 4
    (change,) = apply(full, content).changes
    assert change["object"] == "agents/helper"


def test_it_fits_another_workspace_of_another_installation(full):
    content = export_configuration(full)
    wipe(full)
    other = WorkspaceFactory.create(slug="other")
    apply(other, content)
    assert export_configuration(other) == content
    model = Model.objects.get(name="big")
    selected = Agent.objects.get(slug="helper").runner_config["model"]
    assert selected["primary"] == str(model.public_id)


def test_no_secret_is_exported(full):
    text = json.dumps(export_configuration(full))
    assert SECRET not in text
    assert "$secret" not in text
    assert "api_key" not in text
    assert "theirs" not in text


def test_a_document_may_bring_secrets(full):
    content = export_configuration(full)
    wipe(full)
    content["providers"][0]["api_key"] = "new key"
    content["bots"][0]["config"]["secret"] = "new secret"
    content["agents"][0]["runner_config"]["api-key"] = "another"
    applied = apply(full, content)
    assert "secret_missing" not in str(applied.warnings)
    for word in ("new key", "new secret", "another"):
        assert word not in str(applied)
        assert word not in str(list(AuditLog.objects.values()))
    assert ModelProvider.objects.get().api_key == "new key"
    assert Bot.objects.get().secrets == {"secret": "new secret"}
    assert apply(full, content).changes == []


def test_a_changed_secret_is_a_difference_that_shows_nothing(full):
    content = export_configuration(full)
    content["bots"][0]["config"]["secret"] = "another"
    (change,) = apply(full, content).changes
    assert change["object"] == "bots/hook"
    (found,) = change["differences"]
    assert found["path"] == "config.secret"
    assert (found["before"], found["after"]) == ("[redacted]", "[redacted]")


def test_a_dry_run_shows_all_and_changes_nothing(full):
    content = export_configuration(full)
    content["agents"][0]["name"] = "Renamed"
    content["agents"][0]["runner_config"]["retries"] = 9
    content["agents"][0]["bindings"].pop()
    content["bots"].append({"slug": "chat", "name": "Chat", "adapter": "web"})
    before = (counts(), export_configuration(full))
    dry = apply(full, content, dry_run=True)
    assert (counts(), export_configuration(full)) == before
    wet = apply(full, content)
    assert dry.changes == wet.changes
    found = objects(wet)
    assert found["agents/helper"] == "changed"
    assert found["bots/chat"] == "created"
    assert list(found.values()).count("removed") == 1
    paths = {
        one["path"]: one["after"]
        for change in wet.changes
        if change["object"] == "agents/helper"
        for one in change["differences"]
    }
    assert paths == {"name": "Renamed", "runner_config.retries": 9}


def test_what_is_not_named_stays(full):
    before = export_configuration(full)
    assert apply(full, {"format": "langbot/1"}).changes == []
    content = export_configuration(full)
    del content["agents"][0]["bindings"]
    assert apply(full, content).changes == []
    assert export_configuration(full) == before


def test_bindings_keep_their_row_and_swap_priorities(workspace):
    one = AgentFactory.create(workspace=workspace, slug="one")
    two = AgentFactory.create(workspace=workspace, slug="two")
    first = AgentBinding.objects.create(agent=one, scope="workspace", priority=1)
    second = AgentBinding.objects.create(agent=two, scope="workspace", priority=2)
    content = export_configuration(workspace)
    for agent, priority in zip(content["agents"], (2, 1), strict=True):
        agent["bindings"][0]["priority"] = priority
    apply(workspace, content)
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.priority, second.priority) == (2, 1)
    assert (first.enabled, second.enabled) == (True, True)


def test_a_tie_is_refused_whole(workspace):
    AgentFactory.create(workspace=workspace, slug="one")
    content = export_configuration(workspace)
    bind = {"scope": "workspace"}
    content["agents"][0]["bindings"] = [bind, {**bind, "state_policy": {}}]
    content["agents"].append(
        {"slug": "new", "name": "New", "runner": RUNNER, "bindings": []}
    )
    before = counts()
    with pytest.raises(ValidationError) as caught:
        apply(workspace, content)
    assert list(caught.value.message_dict) == ["agents.one.bindings.priority"]
    assert counts() == before


def test_every_problem_is_named_at_once(full):
    content: dict[str, Any] = export_configuration(full)
    content["bots"][0]["adapter"] = "pigeon"
    content["agents"][0]["runner_config"]["retries"] = "many"
    content["agents"][1]["state_policy"] = {"scopes": ["galaxy"]}
    content["agents"][1]["bindings"] = [{"scope": "bot", "scope_ref": "nowhere"}]
    before = export_configuration(full)
    with pytest.raises(ValidationError) as caught:
        apply(full, content)
    assert set(caught.value.message_dict) == {
        "bots.hook.adapter",
        "agents.helper.runner_config",
        "agents.plain.state_policy",
        "agents.plain.bindings.scope_ref",
    }
    assert export_configuration(full) == before


def test_an_unknown_model_is_named(full):
    content = export_configuration(full)
    content["providers"] = []
    wanted = {"$model": {"provider": "Cloud", "name": "huge"}}
    content["agents"][0]["resource_policy"] = {"models": [wanted]}
    with pytest.raises(ValidationError, match="huge"):
        apply(full, content)
    content["agents"][0]["resource_policy"] = {"models": [{"$model": [1]}]}
    with pytest.raises(ValidationError, match="no model"):
        apply(full, content)


def test_archived_things_come_back(full):
    content = export_configuration(full)
    helper = Agent.objects.get(slug="helper")
    archive_agent(helper)
    Bot.objects.update(archived_at=datetime.now(UTC), enabled=False)
    assert [one["slug"] for one in export_configuration(full)["agents"]] == ["plain"]
    apply(full, content)
    assert export_configuration(full) == content
    assert Agent.objects.get(slug="helper").pk == helper.pk


def test_slugs_of_another_workspace_are_refused(full):
    body = {"slug": "theirs", "name": "x", "runner": RUNNER}
    with pytest.raises(ValidationError, match="slug"):
        apply(full, {"format": "langbot/1", "agents": [body]})
    assert Agent.objects.get(slug="theirs").name != "x"


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({}, "format"),
        ({"format": "other"}, "format"),
        ([], "non_field_errors"),
        ({"format": "langbot/1", "no": 1}, "no"),
        ({"format": "langbot/1", "agents": [{"slug": "a b"}]}, "agents.0.slug"),
        ({"format": "langbot/1", "agents": {}}, "agents"),
        (
            {
                "format": "langbot/1",
                "bots": [{"slug": "a", "name": "A", "adapter": "web"}] * 2,
            },
            "bots",
        ),
    ],
)
def test_what_is_no_document_is_refused(content, place):
    with pytest.raises(ValidationError) as caught:
        read_document(content)
    assert place in caught.value.message_dict


def test_the_entry_of_a_changed_binding_says_what_it_was(full):
    exported = export_configuration(full)
    [agent] = [one for one in exported["agents"] if one["bindings"]][:1]
    old = agent["bindings"][0]["priority"]
    agent["bindings"][0]["priority"] = old + 40
    apply_configuration(full, read_document(exported), author="ada")
    entry = AuditLog.objects.filter(object_type="langbot_agents.agentbinding").latest(
        "pk"
    )
    assert (entry.before, entry.after) == ({"priority": old}, {"priority": old + 40})


def test_an_agent_that_is_refused_is_named_and_not_bound(workspace):
    document = {
        "format": "langbot/1",
        "agents": [
            {
                "slug": "new",
                "name": "New",
                "runner": RUNNER,
                "state_policy": {"no": 1},
                "bindings": [{"scope": "workspace"}],
            }
        ],
    }
    with pytest.raises(ValidationError) as refused:
        apply_configuration(workspace, read_document(document), author="ada")
    assert set(refused.value.message_dict) == {"agents.new.state_policy"}
    assert not Agent.objects.exists()
