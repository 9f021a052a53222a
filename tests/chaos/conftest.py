"""Long campaigns that kill processes; `make chaos` runs them, `make test` does not."""

import pytest

from tests.factories import AgentFactory
from tests.support.cluster import Cluster


def pytest_configure(config):
    config.addinivalue_line("markers", "chaos: minutes of processes being killed")


def pytest_collection_modifyitems(config, items):
    """Leave the campaigns out unless their folder or their marker is named."""
    campaigns = [item for item in items if item.path.parent.name == "chaos"]
    for item in campaigns:
        item.add_marker(pytest.mark.chaos)
    asked = [*config.args, config.option.markexpr]
    if campaigns and not any("chaos" in word for word in asked):
        config.hook.pytest_deselected(items=campaigns)
        items[:] = [item for item in items if item not in campaigns]


@pytest.fixture
def cluster(process_environment):
    """Processes on the test's database; nothing is started yet."""
    with Cluster(process_environment) as processes:
        yield processes


@pytest.fixture
def record(request, capsys):
    """Print a number that the test measured, also when it passes."""

    def write(name, value):
        shown = f"{value:.2f}" if isinstance(value, float) else value
        with capsys.disabled():
            print(f"\n  {request.node.name}: {name} {shown}", end="")  # noqa: T201

    return write


@pytest.fixture
def waiting_agent(workspace):
    return AgentFactory(workspace=workspace, runner_id="plugin:tests/load/waiting")


@pytest.fixture
def streaming_agent(workspace):
    return AgentFactory(workspace=workspace, runner_id="plugin:tests/load/streaming")
