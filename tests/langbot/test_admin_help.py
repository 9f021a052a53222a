"""What the admin says to somebody who sees a page for the first time."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from agents.models import Agent, AgentBinding, Model, ModelProvider, RunnerDescriptor
from langbot.core.models import ApiToken, Workspace
from tests.langbot.admin_site_rows import populate
from tests.support.posted import posted

AGENTS = "admin:langbot_agents_agent"
RUNNER = "plugin:acme/chooser/default"


@pytest.fixture
def staff(client, db):
    populate()
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    return client


@pytest.fixture
def chooser(staff):
    """A runner that needs a model."""
    schema = [{"name": "model", "type": "model-fallback-selector", "required": True}]
    RunnerDescriptor.objects.create(
        runner_id=RUNNER, plugin="acme/chooser", kind="Runner", config_schema=schema
    )
    return f"{reverse(f'{AGENTS}_add')}?runner_id={RUNNER}"


def text_of(client, url):
    return client.get(url, headers={"accept-language": "en"}).content.decode()


def form_of(client, url):
    body = text_of(client, url)
    data = posted(body[body.index('id="agent_form"') :])
    for name in ("_addanother", "_continue", "q"):
        data.pop(name, None)
    return data


def test_a_list_that_shows_everything_does_not_offer_to(staff):
    for model in ("langbot_runners_agentrun", "langbot_core_auditlog"):
        url = reverse(f"admin:{model}_changelist")
        assert "Show all" not in text_of(staff, url)
        assert "Show all" in text_of(staff, f"{url}?q=nothing-has-this-id")


def test_an_unknown_filter_is_not_ignored_silently(staff):
    url = reverse(f"{AGENTS}_changelist")
    answer = staff.get(f"{url}?no_such_field=1", follow=True)
    assert "This list has no such filter" in answer.content.decode()
    assert "This list has no such filter" not in text_of(staff, url)


def test_names_keep_their_letters_and_adding_says_so(staff):
    assert ">Add</span>" in text_of(staff, reverse(f"{AGENTS}_add"))
    agent: Any = Agent.objects.get(slug="helper")
    Agent.objects.filter(pk=agent.pk).update(name="iris")
    body = text_of(staff, reverse(f"{AGENTS}_change", args=[agent.pk]))
    crumbs = body[body.index("<h1") : body.index("</h1>")]
    assert "iris" in crumbs
    assert "Iris" not in crumbs
    assert ">Add</span>" not in crumbs


def test_nobody_deletes_a_workspace_from_beside_a_field(staff):
    body = text_of(staff, reverse(f"{AGENTS}_add"))
    assert "change-related" in body
    assert "delete-related" not in body


def test_the_note_above_a_form_names_what_is_wrong(staff):
    url = reverse(f"{AGENTS}_add")
    answer = staff.post(url, {"name": "x"}, headers={"accept-language": "en"})
    body = answer.content.decode()
    note = body[body.index("lb-errornote") :]
    note = note[: note.index("</div>")]
    assert '<a href="#id_slug">Slug</a>' in note
    assert ">Name</a>" not in note


def test_the_only_model_is_chosen_already_and_is_stored(staff, chooser):
    Model.objects.all().delete()
    provider: Any = ModelProvider.objects.order_by("pk").first()
    only = Model.objects.create(provider=provider, name="only")
    data = form_of(staff, chooser)
    assert data["config__model_0"] == str(only.public_id)
    data["name"], data["slug"] = "New", "new"
    assert staff.post(chooser, dict(data.lists())).status_code == 302
    agent: Any = Agent.objects.get(slug="new")
    assert agent.runner_config["model"]["primary"] == str(only.public_id)
    assert agent.owner.username == "root"
    Model.objects.create(provider=provider, name="another")
    assert form_of(staff, chooser)["config__model_0"] == ""


def test_a_new_binding_is_for_a_bot(staff):
    body = text_of(staff, reverse("admin:langbot_agents_agentbinding_add"))
    assert 'value="bot" selected' in body
    binding = AgentBinding.objects.exclude(scope="bot").first()
    if binding is not None:
        url = reverse("admin:langbot_agents_agentbinding_change", args=[binding.pk])
        assert f'value="{binding.scope}" selected' in text_of(staff, url)


def test_scopes_of_a_token_are_ticked(staff):
    url = reverse("admin:langbot_core_apitoken_add")
    assert 'type="checkbox"' in text_of(staff, url)
    person = get_user_model().objects.get(username="root")
    given = {
        "label": "mine",
        "user": person.pk,
        "workspace": Workspace.objects.get().pk,
        "expires_at_0": "",
        "expires_at_1": "",
    }
    wrong = staff.post(url, {**given, "scopes": ["everything"]})
    assert "scopes" in wrong.context["adminform"].form.errors
    staff.post(url, {**given, "scopes": ["read"]})
    assert ApiToken.objects.get(label="mine").scopes == ["read"]


def test_a_provider_that_cannot_be_called_is_saved_with_a_warning(staff):
    provider: Any = ModelProvider.objects.order_by("pk").first()
    given = {
        "name": "Near",
        "workspace": provider.workspace_id,
        "kind": "openai",
        "enabled": "on",
        "base_url": "http://127.0.0.1:9/v1",
        "timeout_seconds": "60",
        "models-TOTAL_FORMS": "0",
        "models-INITIAL_FORMS": "0",
    }
    url = reverse("admin:langbot_agents_modelprovider_add")
    answer = staff.post(url, given, follow=True)
    assert ModelProvider.objects.filter(name="Near").exists()
    assert "LANGBOT_OUTBOUND_ALLOW" in answer.content.decode()
    far = {**given, "name": "Far", "base_url": "https://8.8.8.8/v1"}
    assert "OUTBOUND" not in staff.post(url, far, follow=True).content.decode()
