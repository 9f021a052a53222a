import pytest

from tests.factories import AgentBindingFactory, BotFactory


@pytest.fixture
def bot(workspace, agent):
    AgentBindingFactory(agent=agent)
    return BotFactory.create(workspace=workspace, slug="web", name="Help desk")
