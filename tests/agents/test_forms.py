"""The agent's form in the admin: typed fields that grow from the runner's schema."""

import json

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from agents.models import Agent, AgentBinding, AgentVersion, Model, RunnerDescriptor
from agents.services import reveal_config
from langbot.core.models import AuditLog, Workspace
from platforms.models import Bot
from tests.langbot.admin_site_rows import RUNNER, SECRET, populate
from tests.support.posted import posted

ADD = "admin:langbot_agents_agent_add"
CHANGE = "admin:langbot_agents_agent_change"


@pytest.fixture
def staff(db, client):
    populate()
    person = get_user_model().objects.create_superuser("root", password="x")
    client.force_login(person)
    return client


@pytest.fixture
def agent(staff):
    return Agent.objects.get(slug="helper")


def page(client, url):
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def form_of(client, url):
    """Return what a browser would post for the form of a page."""
    body = page(client, url)
    start = body.index('id="agent_form"') if 'id="agent_form"' in body else 0
    data = posted(body[start:])
    for name in ("_addanother", "_continue", "q"):
        data.pop(name, None)
    return data


def shown_errors(response):
    form = response.context["adminform"].form
    return {name: list(found) for name, found in form.errors.items()}


def test_saving_an_untouched_form_changes_nothing(staff, agent):
    before = Agent.objects.get(pk=agent.pk)
    entries = AuditLog.objects.count()
    url = reverse(CHANGE, args=[agent.pk])
    response = staff.post(url, dict(form_of(staff, url).lists()))
    assert response.status_code == 302, shown_errors(response)
    after = Agent.objects.get(pk=agent.pk)
    assert after.version == before.version
    assert after.runner_config == before.runner_config
    assert after.event_types == before.event_types
    assert after.resource_policy == before.resource_policy == {}
    assert after.bindings.count() == 1
    assert AuditLog.objects.count() == entries


def test_settings_are_typed_fields_of_the_runner(staff, agent):
    model = str(Model.objects.get().public_id)
    url = reverse(CHANGE, args=[agent.pk])
    data = form_of(staff, url)
    data["config__model_0"] = model
    data["config__prompt_0_1"] = "Be brief."
    data["config__timeout"] = "120"
    data["config__auth"] = "basic"
    data["config__user"] = "ada"
    del data["config__stream"]
    data["config__api-key"] = "another secret"
    data["delivery_maximum"] = "500"
    data["event_types"] = "message.received\ngroup.*"
    data.setlist("state_scopes", ["conversation"])
    assert staff.post(url, data).status_code == 302
    agent.refresh_from_db()
    assert reveal_config(agent.runner_config) == {
        "api-key": "another secret",
        "model": {"primary": model, "fallbacks": []},
        "prompt": [{"role": "system", "content": "Be brief."}],
        "timeout": 120,
        "auth": "basic",
        "user": "ada",
        "stream": False,
    }
    assert agent.delivery_policy["maximum_message_size"] == 500
    assert agent.event_types == ["message.received", "group.*"]
    assert agent.state_policy["scopes"] == ["conversation"]
    kept = json.dumps(list(AgentVersion.objects.values_list("data", flat=True)))
    kept += json.dumps(list(AuditLog.objects.values_list("after", flat=True)))
    assert "another secret" not in kept
    assert "another secret" not in page(staff, url)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("config__timeout", "4000", "A run takes at most 3600 seconds."),
        ("config__timeout", "soon", "Enter a whole number."),
        ("config__auth", "digest", None),
        ("event_types", "", "This field is required."),
        ("runner_id", "", "This field is required."),
        ("slug", "", "This field is required."),
    ],
)
def test_problem_is_shown_at_its_field(staff, agent, field, value, message):
    url = reverse(CHANGE, args=[agent.pk])
    data = form_of(staff, url)
    data[field] = value
    errors = shown_errors(staff.post(url, data))
    assert list(errors) == [field]
    assert message is None or errors[field] == [message]
    assert Agent.objects.get(pk=agent.pk).version == agent.version


def test_shown_field_is_required_a_hidden_one_is_not(staff, agent):
    url = reverse(CHANGE, args=[agent.pk])
    data = form_of(staff, url)
    data["config__auth"] = "basic"
    errors = shown_errors(staff.post(url, data))
    assert errors == {"config__user": ["This setting is required."]}
    assert 'data-show-field="auth"' in page(staff, url)


def test_labels_are_in_the_language_of_the_admin(staff, agent):
    url = reverse(CHANGE, args=[agent.pk])
    assert "Key of the service" in page(staff, url)
    staff.cookies["django_language"] = "zh-hans"
    chinese = page(staff, url)
    assert "服务密钥" in chinese
    assert "工具箱" in chinese


def test_runner_of_the_address_decides_the_settings_of_a_new_agent(staff):
    assert "config__api-key" not in page(staff, f"{reverse(ADD)}?runner_id=")
    body = page(staff, f"{reverse(ADD)}?runner_id={RUNNER}")
    assert 'name="config__api-key"' in body
    assert "lb-grown" in body


def test_new_agent_is_saved_with_its_settings(staff):
    url = f"{reverse(ADD)}?runner_id={RUNNER}"
    data = form_of(staff, url)
    data.update({"name": "New", "slug": "new", "config__api-key": SECRET})
    data["workspace"] = str(Workspace.objects.get().pk)
    data["runner_id"] = RUNNER
    response = staff.post(url, data)
    assert response.status_code == 302, shown_errors(response)
    agent = Agent.objects.get(slug="new")
    assert reveal_config(agent.runner_config)["api-key"] == SECRET
    assert agent.version == 1


def test_change_of_runner_without_a_script_asks_for_the_new_settings(staff, agent):
    other = RunnerDescriptor.objects.create(
        runner_id="plugin:acme/other/main",
        plugin="acme/other",
        kind="Runner",
        config_schema=[
            {"name": "api-key", "type": "secret"},
            {"name": "stream", "type": "boolean", "default": True},
        ],
    )
    url = reverse(CHANGE, args=[agent.pk])
    data = form_of(staff, url)
    data["runner_id"] = other.runner_id
    response = staff.post(url, data)
    assert list(shown_errors(response)) == ["runner_id"]
    assert Agent.objects.get(pk=agent.pk).runner_id == RUNNER
    body = response.content.decode()
    assert 'name="config__timeout"' not in body
    again = posted(body[body.index('id="agent_form"') :])
    assert again["config__stream"] == "on"
    response = staff.post(url, again)
    assert response.status_code == 302, shown_errors(response)
    agent.refresh_from_db()
    assert agent.runner_config == {"stream": True}


def test_settings_of_a_runner_that_never_connected_survive(staff, agent):
    RunnerDescriptor.objects.all().delete()
    url = reverse(CHANGE, args=[agent.pk])
    data = form_of(staff, url)
    data["name"] = "Renamed"
    response = staff.post(url, data)
    assert response.status_code == 302, shown_errors(response)
    stored = Agent.objects.get(pk=agent.pk)
    assert stored.name == "Renamed"
    assert reveal_config(stored.runner_config)["api-key"] == SECRET


def test_bindings_are_edited_on_the_agents_page_and_ties_refused(staff, agent):
    url = reverse(CHANGE, args=[agent.pk])
    data = form_of(staff, url)
    data["bindings-TOTAL_FORMS"] = "2"
    new = {
        "scope": "bot",
        "scope_ref": "hook",
        "event_pattern": "message.received",
        "priority": "0",
        "enabled": "on",
        "agent": str(agent.pk),
        "id": "",
    }
    for name, value in new.items():
        data[f"bindings-1-{name}"] = value
    assert staff.post(url, data).status_code == 200
    assert AgentBinding.objects.count() == 1
    data["bindings-1-priority"] = "5"
    response = staff.post(url, data)
    assert response.status_code == 302, response.context["errors"]
    assert sorted(AgentBinding.objects.values_list("priority", flat=True)) == [0, 5]


def test_version_can_be_restored_from_its_page(staff, agent):
    url = reverse(CHANGE, args=[agent.pk])
    data = form_of(staff, url)
    data["name"] = "Renamed"
    staff.post(url, data)
    first = AgentVersion.objects.get(agent=agent, number=1)
    restore = reverse("admin:langbot_agents_agentversion_restore", args=[first.pk])
    assert staff.get(restore).status_code == 302
    assert Agent.objects.get(pk=agent.pk).name == "Renamed"
    staff.post(restore)
    stored = Agent.objects.get(pk=agent.pk)
    assert (stored.name, stored.version) == ("Helper", 3)
    assert reveal_config(stored.runner_config)["api-key"] == SECRET


def test_bot_keeps_its_secrets_until_new_ones_are_entered(staff):
    bot = Bot.objects.get()
    stored = dict(bot.secrets)
    url = reverse("admin:langbot_platforms_bot_change", args=[bot.pk])
    body = page(staff, url)
    assert SECRET not in body
    data = posted(body[body.index('id="bot_form"') :])
    data["name"] = "Renamed"
    for name in ("config__url", "config__reply_url", "config__target_url"):
        if name in data:
            data[name] = "https://there.test/hook"
    response = staff.post(url, data)
    assert response.status_code == 302, shown_errors(response)
    bot.refresh_from_db()
    assert bot.name == "Renamed"
    assert {k: v for k, v in stored.items() if k in bot.secrets} == bot.secrets
    assert bot.secrets


def test_provider_key_is_write_only(staff):
    from agents.models import ModelProvider

    provider = ModelProvider.objects.get()
    url = reverse("admin:langbot_agents_modelprovider_change", args=[provider.pk])
    body = page(staff, url)
    data = posted(body[body.index('id="modelprovider_form"') :])
    data["name"] = "Renamed"
    assert staff.post(url, data).status_code == 302
    provider.refresh_from_db()
    assert (provider.name, provider.api_key) == ("Renamed", SECRET)
    data["api_key"] = "new key"
    assert staff.post(url, data).status_code == 302
    provider.refresh_from_db()
    assert provider.api_key == "new key"
    assert "new key" not in page(staff, url)
    entries = AuditLog.objects.filter(object_id=str(provider.public_id))
    assert entries.count() == 2
    assert "new key" not in str(list(entries.values_list("before", "after")))
