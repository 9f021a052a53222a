"""Old pipelines become agents (LB-100..LB-103)."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from agents.models import Agent, AgentBinding, Model, ModelProvider, RunnerDescriptor
from agents.services import reveal_config, save_agent
from langbot.configuration.legacy import (
    RUNNERS,
    LegacyError,
    migrate_ai,
    read_legacy,
    read_pipeline,
)
from langbot.core.models import AuditLog
from runners.official.local_agent_schema import CONFIG
from tests.factories import BotFactory

LOCAL = "plugin:langbot/local-agent/default"
DIFY = "plugin:langbot/dify-agent/default"
KEY = "a s3cret of the old service"


def pipeline(name="Support", **ai):
    return {"uuid": f"old-{name}", "name": name, "config": {"ai": ai}}


def local(**block):
    return {"runner": {"runner": "local-agent"}, "local-agent": block}


@pytest.fixture
def model(workspace):
    provider = ModelProvider.objects.create(workspace=workspace, name="Cloud")
    return str(Model.objects.create(provider=provider, name="big").public_id)


@pytest.fixture
def runner(db):
    return RunnerDescriptor.objects.create(
        runner_id=LOCAL,
        plugin="langbot/local-agent",
        kind="Runner",
        config_schema=list(CONFIG),
    )


@pytest.fixture
def run(tmp_path, workspace):
    def run(content, *options):
        file = tmp_path / "old.json"
        file.write_text(json.dumps(content))
        output, errors = StringIO(), StringIO()
        call_command(
            "importlegacyconfig", str(file), *options, stdout=output, stderr=errors
        )
        return output.getvalue(), errors.getvalue()

    return run


@pytest.mark.parametrize(("old", "runner_id"), RUNNERS.items())
def test_every_old_name_has_its_runner(old, runner_id):
    ai = {"runner": {"runner": old}, old: {"base-url": "https://a.test"}}
    assert migrate_ai(ai) == (runner_id, {runner_id: {"base-url": "https://a.test"}})


def test_seven_old_names_are_known():
    assert set(RUNNERS) == {
        *("local-agent", "dify-service-api", "n8n-service-api", "coze-api"),
        *("dashscope-app-api", "langflow-api", "tbox-app-api"),
    }


def test_values_at_the_new_place_win():
    ai = {
        "runner": {"runner": "dify-service-api", "id": DIFY},
        "dify-service-api": {"base-url": "https://old.test", "timeout": 30},
        "runner_config": {DIFY: {"base-url": "https://new.test"}},
    }
    assert migrate_ai(ai)[1] == {DIFY: {"base-url": "https://new.test", "timeout": 30}}


def test_an_id_that_is_there_wins_over_an_old_name():
    ai = {"runner": {"runner": "coze-api", "id": DIFY}, "coze-api": {"bot-id": "1"}}
    runner_id, configs = migrate_ai(ai)
    assert runner_id == DIFY
    assert DIFY not in configs


@pytest.mark.parametrize(
    ("block", "settings"),
    [
        ({"model": "m1"}, {"model": {"primary": "m1", "fallbacks": []}}),
        ({"model": {"primary": "m1"}}, {"model": {"primary": "m1"}}),
        ({"knowledge-base": "b1"}, {"knowledge-bases": ["b1"]}),
        ({"knowledge-base": ""}, {"knowledge-bases": []}),
        ({"knowledge-base": "__none__"}, {"knowledge-bases": []}),
        ({"knowledge-base": "None"}, {"knowledge-bases": []}),
        ({"knowledge-base": None}, {"knowledge-bases": []}),
        ({"knowledge-base": "b", "knowledge-bases": ["c"]}, {"knowledge-bases": ["c"]}),
    ],
)
def test_settings_of_the_local_agent_are_brought_up_to_date(block, settings):
    assert migrate_ai(local(**block))[1] == {LOCAL: settings}


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(900, 900), (0, 0), (-5, 0), ("900", 0), (None, 0), (2**40, 0), (True, 0)],
)
def test_the_expiry_comes_along(given, seconds):
    ai = local() | {"runner": {"runner": "local-agent", "expire-time": given}}
    assert read_pipeline(pipeline(**ai)).state_policy == {
        "scopes": ["conversation", "actor", "subject", "runner"],
        "expire_seconds": seconds,
    }


@pytest.mark.parametrize(
    "bad",
    [
        7,
        None,
        {},
        {"config": []},
        {"config": {"ai": 1}},
        pipeline(),
        pipeline(runner={"runner": "deepseek-service"}),
        pipeline(runner={"runner": 3}),
    ],
)
def test_what_is_no_pipeline_is_named_and_skipped(bad):
    with pytest.raises(LegacyError):
        read_pipeline(bad)
    found = read_legacy([bad, pipeline("Good", **local())])
    assert [agent.slug for agent in found.agents] == ["good"]
    assert len(found.problems) == 1


def test_a_pipeline_becomes_an_agent(run, runner, model, workspace):
    ai = local(model=model, prompt=[{"role": "system", "content": "Be kind."}])
    ai["runner"]["expire-time"] = 60
    output, errors = run(pipeline("Help desk", **ai))
    assert "created agents/help-desk" in output
    assert not errors
    agent = Agent.objects.get()
    assert (agent.workspace, agent.name, agent.runner_id) == (
        workspace,
        "Help desk",
        LOCAL,
    )
    assert agent.runner_config["model"] == {"primary": model, "fallbacks": []}
    assert agent.runner_config["prompt"][0]["content"] == "Be kind."
    assert agent.state_policy["expire_seconds"] == 60
    entry = AuditLog.objects.get()
    assert (entry.action, entry.source) == ("created", "command importlegacyconfig")


def test_a_repeat_changes_nothing_and_takes_nothing_back(run, runner, model):
    document = pipeline(**local(model=model))
    run(document)
    entries = AuditLog.objects.count()
    assert "unchanged agents/support" in run(document)[0]
    agent = Agent.objects.get()
    agent.name = "Renamed since"
    agent.runner_config = {**agent.runner_config, "timeout": 77}
    save_agent(agent, author="ada")
    document["config"]["ai"]["local-agent"]["timeout"] = 5
    assert "unchanged agents/support" in run(document)[0]
    agent.refresh_from_db()
    assert (agent.name, agent.runner_config["timeout"]) == ("Renamed since", 77)
    assert AuditLog.objects.count() == entries + 1  # ada's


def test_a_dry_run_tells_all_and_keeps_nothing(run, runner, model, workspace):
    bot = BotFactory.create(workspace=workspace, slug="hook")
    document = {
        "pipelines": [pipeline(**local(model=model))],
        "bots": [{"name": bot.slug, "use_pipeline_uuid": "old-Support"}],
    }
    output, _errors = run(document, "--dry-run")
    assert "created agents/support" in output
    assert "created bindings/hook" in output
    assert "dry run" in output
    assert not Agent.objects.exists()
    assert not AuditLog.objects.exists()


def test_secrets_are_sealed_and_never_told(run):
    ai: dict[str, Any] = {"runner": {"runner": "dify-service-api"}}
    ai["dify-service-api"] = {"api-key": KEY, "base-url": "https://a.test"}
    output, errors = run(pipeline(**ai))
    agent = Agent.objects.get()
    assert KEY not in output + errors + str(agent.runner_config)
    assert KEY not in str(list(AuditLog.objects.values()))
    assert reveal_config(agent.runner_config)["api-key"] == KEY
    entries = AuditLog.objects.count()
    assert "unchanged" in run(pipeline(**ai))[0]
    assert AuditLog.objects.count() == entries


def test_what_the_runner_or_the_workspace_does_not_know_is_named(run, runner):
    config = [one for one in CONFIG if one["name"] != "model"]
    schema = [*config, {"name": "model", "type": "model-fallback-selector"}]
    RunnerDescriptor.objects.update(config_schema=schema)
    _output, errors = run(pipeline(**local(**{"model": "gone", "max-round": 10})))
    assert "agents/support: max-round" in errors
    assert "agents/support: model" in errors
    agent = Agent.objects.get()
    assert not {"max-round"} & agent.runner_config.keys()
    assert "gone" not in str(agent.runner_config)


def test_one_bad_pipeline_stops_no_other(run, runner, model, workspace):
    save_agent(
        Agent(workspace=workspace, slug="taken", name="Taken", runner_id=DIFY),
        author="ada",
    )
    bad = pipeline("Bad", runner={"runner": "unknown-api"})
    wrong = pipeline("Wrong", **local(model=model, timeout="soon"))
    taken = pipeline("Taken", **local(model=model))
    output, errors = run([bad, wrong, taken, pipeline("Good", **local(model=model))])
    assert "created agents/good" in output
    for name in ("Bad", "agents/wrong", "agents/taken"):
        assert f"skipped {name}" in errors
    assert set(Agent.objects.values_list("slug", flat=True)) == {"taken", "good"}


def test_bots_are_bound_to_what_they_named(run, runner, model, workspace):
    BotFactory.create(workspace=workspace, slug="shop", name="The shop")
    BotFactory.create(workspace=workspace, slug="desk", name="Front desk")
    document = {
        "pipelines": [pipeline(**local(model=model))],
        "bots": [
            {"name": "Shop", "use_pipeline_uuid": "old-Support"},
            {"name": "Front desk", "use_pipeline_uuid": "old-Support"},
            {"name": "Gone", "use_pipeline_uuid": "old-Support"},
            {"name": "Shop", "use_pipeline_uuid": "nothing"},
            {"name": "Idle"},
        ],
    }
    _output, errors = run(document)
    bound = AgentBinding.objects.order_by("scope_ref").values_list("scope_ref")
    assert [slug for (slug,) in bound] == ["desk", "shop"]
    assert "skipped bindings/Gone" in errors
    assert "skipped bindings/Shop: There is no such agent." in errors
    entries = AuditLog.objects.count()
    assert "unchanged bindings/Shop" in run(document)[0]
    assert AuditLog.objects.count() == entries


def test_what_is_no_file_is_said(run, tmp_path):
    with pytest.raises(CommandError, match="not JSON"):
        bad = tmp_path / "bad.json"
        bad.write_text("{")
        call_command("importlegacyconfig", str(bad))


def test_pipelines_of_one_name_become_agents_of_their_own(
    run, runner, model, workspace
):
    alike = [pipeline("ChatPipeline", **local(model=model)) for _ in range(4)]
    alike[1]["uuid"], alike[2]["uuid"], alike[3]["uuid"] = "b0b5-c0ffee", "", ""
    bot = BotFactory(workspace=workspace, name="Second")
    bots = [{"name": bot.name, "use_pipeline_uuid": "b0b5-c0ffee"}]
    content = {"pipelines": alike, "bots": bots}
    run(content)
    slugs = Agent.objects.order_by("pk").values_list("slug", flat=True)
    assert list(slugs) == [
        "chatpipeline",
        "chatpipeline-b0b5-c0f",
        "chatpipeline-2",
        "chatpipeline-3",
    ]
    assert AgentBinding.objects.get().agent.slug == "chatpipeline-b0b5-c0f"
    assert "created" not in run(content)[0]


def test_a_pipeline_listed_twice_stays_one_agent():
    found = read_legacy([pipeline(**local()), pipeline(**local())])
    assert [agent.slug for agent in found.agents] == ["support", "support"]
