"""Which window a runner is told of: that of the first model its agent chose (LB-38)."""

import pytest

from agents.models import Agent, AgentBinding, Model, ModelProvider, RunnerDescriptor
from runners.engine.snapshot import build_context, freeze, load_runs, thaw
from runners.models import AgentRun
from tests.runners.admin_rows import make_run

pytestmark = pytest.mark.django_db

SCHEMA = [
    {"name": "ranker", "type": "rerank-model-selector"},
    {"name": "model", "type": "model-fallback-selector"},
    {"name": "writer", "type": "llm-model-selector"},
]


@pytest.fixture
def models(workspace):
    """Models by name, in the opposite of the alphabet's order; windows as in it."""
    provider = ModelProvider.objects.create(workspace=workspace, name="Local")
    windows = {"e": 5000, "d": 4000, "c": 3000, "b": 2000, "a": 1000, "unknown": None}
    found = {
        name: Model.objects.create(
            provider=provider, name=name, context_window_tokens=window
        )
        for name, window in windows.items()
    }
    found["ranker"] = Model.objects.create(
        provider=provider, name="0", kind="rerank", context_window_tokens=77
    )
    return {name: str(model.public_id) for name, model in found.items()}


@pytest.fixture
def run_of(agent):
    """Make a run of an agent whose settings, policy and binding are these."""

    def make(config, policy=(), binding=None):
        RunnerDescriptor.objects.create(
            runner_id=agent.runner_id,
            plugin="langbot/echo",
            kind="Runner",
            config_schema=SCHEMA,
            permissions={"models": ["invoke", "stream", "rerank"]},
        )
        Agent.objects.filter(pk=agent.pk).update(
            runner_config=config, resource_policy={"models": list(policy)}
        )
        fields = {}
        if binding is not None:
            fields["binding"] = AgentBinding.objects.create(
                agent=agent, scope="workspace", resource_policy={"models": binding}
            )
        return make_run(Agent.objects.get(pk=agent.pk), **fields)

    return make


def told(run):
    (loaded,) = load_runs([run.pk])
    facts = freeze(loaded)
    context = build_context(loaded, facts)
    listed = [model["model_id"] for model in context["resources"]["models"]]
    metadata = context["runtime"]["metadata"]
    return listed, metadata.get("model_context_window_tokens", "absent")


def test_models_stay_in_the_order_of_the_settings_and_the_policy_is_last(
    models, run_of
):
    chain = [models[name] for name in "cdbe"]
    config = {
        "model": {"primary": chain[0], "fallbacks": chain[1:]},
        "writer": chain[2],
        "ranker": models["ranker"],
    }
    listed, window = told(run_of(config, policy=[models["a"], chain[1]]))
    assert listed == [models["ranker"], *chain, models["a"]]
    assert window == 3000


def test_a_model_that_the_run_may_not_use_is_passed_over(models, run_of):
    config = {"model": {"primary": models["c"], "fallbacks": [models["d"]]}}
    _, window = told(run_of(config, binding=[models["d"]]))
    assert window == 4000


def test_a_model_of_the_policy_counts_where_the_settings_name_none(models, run_of):
    assert told(run_of({}, policy=[models["b"]])) == ([models["b"]], 2000)


@pytest.mark.parametrize("chosen", [["unknown", "a"], ["ranker"], []])
def test_nothing_is_said_where_it_is_not_known(models, run_of, chosen):
    run = run_of({}, policy=[models[name] for name in chosen])
    assert told(run)[1] == "absent"


def test_a_worker_that_goes_on_tells_the_same(models, run_of):
    run = run_of({"model": {"primary": models["e"]}}, policy=[models["a"]])
    (loaded,) = load_runs([run.pk])
    snapshot = freeze(loaded).snapshot
    AgentRun.objects.filter(pk=run.pk).update(snapshot=snapshot)
    Model.objects.update(context_window_tokens=1)
    (again,) = load_runs([run.pk])
    metadata = build_context(again, thaw(again))["runtime"]["metadata"]
    assert metadata["model_context_window_tokens"] == 5000
