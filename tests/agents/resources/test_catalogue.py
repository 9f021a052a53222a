import uuid

import pytest
from cryptography.fernet import Fernet

from agents.models import Model, ModelProvider
from agents.resources.catalogue import visible_models
from agents.resources.llm import model_specs
from langbot.core.models import Workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def provider(workspace):
    return ModelProvider.objects.create(
        workspace=workspace,
        name="Local",
        base_url="http://127.0.0.1:11434/v1",
        api_key="sk-very-secret",
        timeout_seconds=30,
    )


@pytest.fixture
def model(provider):
    return Model.objects.create(
        provider=provider,
        name="tiny",
        context_window_tokens=8192,
        extra_args={"temperature": 0},
    )


def test_specs_hold_what_a_call_needs_and_hide_the_key(workspace, provider, model):
    model_id = str(model.public_id)
    spec = model_specs([model_id], workspace.pk)[model_id]
    assert (spec.id, spec.name, spec.kind) == (model_id, "tiny", "llm")
    assert (spec.provider_name, spec.provider_kind) == ("Local", "openai")
    assert spec.base_url == "http://127.0.0.1:11434/v1"
    assert spec.api_key == "sk-very-secret"
    assert spec.timeout_seconds == 30
    assert spec.context_window_tokens == 8192
    assert spec.extra_args == {"temperature": 0}
    assert "sk-very-secret" not in repr(spec)


def test_specs_lack_what_may_not_be_used(workspace, provider, model):
    disabled = Model.objects.create(provider=provider, name="off", enabled=False)
    foreign_provider = ModelProvider.objects.create(
        workspace=Workspace.objects.create(slug="other", name="Other"), name="Local"
    )
    foreign = Model.objects.create(provider=foreign_provider, name="tiny")
    off_provider = ModelProvider.objects.create(
        workspace=workspace, name="Off", enabled=False
    )
    of_disabled = Model.objects.create(provider=off_provider, name="tiny")
    rows = [model, disabled, foreign, of_disabled]
    ids = [str(row.public_id) for row in rows]
    found = model_specs([*ids, "__none__", "", str(uuid.uuid4())], workspace.pk)
    assert list(found) == ids[:1]
    listed = [entry["model_id"] for entry in visible_models(workspace.pk)]
    assert listed == ids[:1]


def test_a_lost_secret_key_hides_one_provider_only(
    workspace, provider, model, settings
):
    kept = settings.LANGBOT["SECRET_KEYS"]
    lost = Fernet.generate_key().decode()
    settings.LANGBOT = {**settings.LANGBOT, "SECRET_KEYS": [lost]}
    broken_provider = ModelProvider.objects.create(
        workspace=workspace, name="Broken", api_key="sk-other"
    )
    broken = Model.objects.create(provider=broken_provider, name="tiny")
    settings.LANGBOT = {**settings.LANGBOT, "SECRET_KEYS": kept}
    good_id, broken_id = str(model.public_id), str(broken.public_id)
    specs = model_specs([good_id, broken_id], workspace.pk)
    assert specs[good_id].api_key == "sk-very-secret"
    assert specs[broken_id].api_key is None


def test_specs_of_one_provider_take_two_queries(
    workspace, provider, model, django_assert_num_queries
):
    others = [Model.objects.create(provider=provider, name=f"m{n}") for n in range(5)]
    ids = [str(row.public_id) for row in [model, *others]]
    with django_assert_num_queries(2):
        assert len(model_specs(ids, workspace.pk)) == 6


def test_catalogue_entries_have_the_shape_of_a_runs_resources(
    workspace, provider, model, django_assert_num_queries
):
    Model.objects.create(provider=provider, name="ranker", kind="rerank")
    with django_assert_num_queries(1):
        ranker, tiny = visible_models(workspace.pk)
    assert tiny == {
        "model_id": str(model.public_id),
        "model_type": "llm",
        "provider": "Local",
        "operations": ["invoke", "stream", "count_tokens"],
        "context_window_tokens": 8192,
    }
    assert (ranker["model_type"], ranker["operations"]) == ("rerank", ["rerank"])
    assert ranker["context_window_tokens"] is None
