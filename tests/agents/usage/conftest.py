import pytest

from agents.models import Model, ModelPrice, ModelProvider
from agents.resources.budgets import Spender
from agents.resources.llm import model_specs
from agents.resources.reserving import CallFacts


@pytest.fixture
def model(workspace):
    """A model whose tokens cost 2 and 10 USD per million."""
    provider = ModelProvider.objects.create(workspace=workspace, name="Cloud")
    model = Model.objects.create(provider=provider, name="big")
    ModelPrice.objects.create(
        model=model, input_microdollars=2_000_000, output_microdollars=10_000_000
    )
    return model


@pytest.fixture
def facts_of(workspace, agent, model):
    """Return what a call of a person is begun with."""
    spec = model_specs([str(model.public_id)], workspace.pk)[str(model.public_id)]

    def make(person="api:user:1", tokens=1000, most_output=100, **fields):
        return CallFacts(
            spender=Spender(workspace.pk, agent.pk, person),
            model=spec,
            estimate=lambda: tokens,
            most_output=most_output,
            **fields,
        )

    return make
