"""A runner gets its defaults though its agent was saved before it told them."""

import pytest

from agents.models import RunnerDescriptor
from runners.engine.snapshot import build_context, freeze
from runners.models import AgentRun
from tests.runners.admin_rows import make_run

pytestmark = pytest.mark.django_db

SCHEMA = [
    {"name": "greeting", "type": "string", "default": "Hello"},
    {"name": "loud", "type": "boolean", "default": False},
    {"name": "mark", "type": "string"},
    {"name": "name", "type": "string", "default": None},
    {"type": "string", "default": "of nothing"},
    "no field",
]


@pytest.mark.parametrize(
    ("saved", "told"),
    [
        ({}, {"greeting": "Hello", "loud": False}),
        ({"greeting": None, "loud": True}, {"greeting": "Hello", "loud": True}),
        (
            {"greeting": "", "mark": "!", "old": 1},
            {"greeting": "", "loud": False, "mark": "!", "old": 1},
        ),
    ],
)
def test_what_was_not_chosen_has_its_default(agent, saved, told):
    run = make_run(agent, "queued")
    agent.runner_config = saved
    agent.save()
    RunnerDescriptor.objects.update_or_create(
        runner_id=agent.runner_id,
        defaults={"kind": "Runner", "config_schema": SCHEMA},
    )
    loaded = AgentRun.objects.get(pk=run.pk)
    facts = freeze(loaded)
    assert facts.snapshot["runner_config"] == told
    assert build_context(loaded, facts)["config"] == told
