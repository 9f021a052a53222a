from datetime import UTC, datetime

import pytest

from agents.models import (
    Agent,
    AgentBinding,
    Model,
    ModelPrice,
    ModelProvider,
    Quota,
    RunnerDescriptor,
)
from agents.services import save_agent
from langbot.core.periods import WorkspaceRetention
from platforms.models import Bot
from tests.factories import AgentFactory, WorkspaceFactory
from tests.langbot.configuration.helpers import RUNNER, SECRET


@pytest.fixture
def runner(db):
    schema = [
        {"name": "api-key", "type": "secret", "required": True},
        {"name": "model", "type": "model-fallback-selector"},
        {"name": "retries", "type": "integer", "default": 3},
    ]
    return RunnerDescriptor.objects.create(
        runner_id=RUNNER, plugin="acme/helper", kind="Runner", config_schema=schema
    )


@pytest.fixture
def full(workspace, runner):
    """A workspace with something of everything."""
    provider = ModelProvider.objects.create(
        workspace=workspace, name="Cloud", base_url="https://a.test", api_key=SECRET
    )
    model = Model.objects.create(provider=provider, name="big", extra_args={"a": 1})
    spare = Model.objects.create(provider=provider, name="small")
    hook = Bot(
        workspace=workspace,
        slug="hook",
        name="Hook",
        adapter="webhook",
        config={"url": "https://b.test/"},
    )
    hook.secrets = {"secret": SECRET}
    hook.save()
    selected = {"primary": str(model.public_id), "fallbacks": [str(spare.public_id)]}
    agent = Agent(
        workspace=workspace,
        slug="helper",
        name="Helper",
        runner_id=RUNNER,
        runner_config={"api-key": SECRET, "model": selected},
        resource_policy={"models": [str(spare.public_id)]},
        event_types=["message.*"],
    )
    save_agent(agent, author="ada")
    AgentFactory.create(workspace=workspace, slug="plain", runner_id="plugin:a/b/later")
    for fields in (
        {"scope": "bot", "scope_ref": "hook", "filters": {"actor": ["a", "b"]}},
        {"scope": "workspace", "event_pattern": "group.*", "priority": 7},
        {"scope": "agent", "enabled": False, "state_policy": {"enabled": False}},
    ):
        AgentBinding.objects.create(agent=agent, **fields)
    _add_limits(workspace, agent, model)
    foreign = AgentFactory.create(
        workspace=WorkspaceFactory.create(slug="elsewhere"), slug="theirs"
    )
    AgentBinding.objects.create(agent=foreign, scope="workspace")
    return workspace


def _add_limits(workspace, agent, model):
    """Add prices, budgets and periods; the budget of one person is not exported."""
    for year, amount in ((2025, 100), (2026, 200)):
        ModelPrice.objects.create(
            model=model,
            valid_from=datetime(year, 1, 1, tzinfo=UTC),
            input_microdollars=amount,
        )
    for fields in (
        {"scope": "workspace", "window": "daily", "limit_microdollars": 5_000_000},
        {"scope": "agent", "agent": agent, "window": "weekly", "limit_microdollars": 7},
        {"scope": "tier", "tier": "pro", "window": "daily"},
        {"scope": "user", "person": "api:user:7", "window": "daily"},
    ):
        Quota.objects.create(workspace=workspace, **fields)
    WorkspaceRetention.objects.create(workspace=workspace, run_days=30)
