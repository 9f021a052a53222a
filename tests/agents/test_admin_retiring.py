"""What is in use is never deleted with its history; its page says where it is used."""

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.urls import reverse

from agents.models import Agent, AgentBinding, Model, ModelProvider, RunnerDescriptor
from agents.services import archive_agent, save_agent
from langbot.core.models import AuditLog
from platforms.models import Bot
from runners.models import AgentRun
from tests.factories import AgentFactory
from tests.langbot.admin_site_rows import RUNNER, populate


@pytest.fixture
def staff(client, db):
    populate()
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    return client


@pytest.fixture
def model(staff):
    model = Model.objects.get()
    agent = Agent.objects.get()
    agent.runner_config = {
        **agent.runner_config,
        "model": {"primary": str(model.public_id)},
    }
    save_agent(agent, author="ada")
    return model


def page(row, name="delete"):
    meta = row._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{name}", args=[row.pk])


def said(answer):
    return " ".join(str(message) for message in answer.context["messages"])


@pytest.mark.parametrize("kind", [Model, ModelProvider])
def test_model_in_use_is_archived_and_comes_back(staff, model, kind):
    row = kind.objects.get()
    body = staff.get(page(row)).content.decode()
    assert page(Agent.objects.get(), "change") in body
    assert "Archive it" in body
    answer = staff.post(page(row), {"post": "yes"}, follow=True)
    assert "archived, not deleted" in said(answer)
    row.refresh_from_db()
    assert row.enabled is False
    assert row.archived_at is not None
    assert states(staff, kind) == {"archived": 1, "disabled": 0, "enabled": 0}
    restore = {"action": "restore", "_selected_action": [row.pk]}
    assert "1 restored" in said(staff.post(every(kind), restore, follow=True))
    assert states(staff, kind) == {"archived": 0, "disabled": 0, "enabled": 1}
    entries = AuditLog.objects.filter(object_id=row.public_id).order_by("pk")
    assert list(entries.values_list("action", flat=True)) == ["archived", "unarchived"]


def every(kind):
    return reverse(f"admin:{kind._meta.app_label}_{kind._meta.model_name}_changelist")


def states(staff, kind):
    """Return how many rows the list has in each state, by its filter."""
    found = {}
    for state in ("archived", "disabled", "enabled"):
        answer = staff.get(every(kind), {"state": state})
        found[state] = answer.context["cl"].result_count
        # The cell is a badge; the filter's own words are not.
        badges = answer.content.decode().count(f">{state}</span>")
        assert badges == found[state]
    return found


@pytest.mark.parametrize("kind", [Model, ModelProvider])
def test_switching_an_archived_model_on_brings_it_back(staff, model, kind):
    row = kind.objects.get()
    staff.post(page(row), {"post": "yes"})
    row.refresh_from_db()
    row.name = "renamed"
    row.save(update_fields=["name"])
    assert kind.objects.get().archived_at is not None
    row.enabled = True
    row.save(update_fields=["enabled"])
    assert kind.objects.get().archived_at is None
    with pytest.raises(IntegrityError), transaction.atomic():
        kind.objects.update(archived_at=row.created_at)


def test_agents_are_filtered_by_state(staff):
    agent = Agent.objects.get()
    assert states(staff, Agent) == {"archived": 0, "disabled": 0, "enabled": 1}
    archive_agent(agent, author="ada")
    assert states(staff, Agent) == {"archived": 1, "disabled": 0, "enabled": 0}
    assert staff.get(every(Agent)).context["cl"].result_count == 1


@pytest.mark.parametrize("kind", [Model, ModelProvider])
def test_unused_model_is_deleted(staff, kind):
    row = kind.objects.get()
    assert "Archive it" not in staff.get(page(row)).content.decode()
    staff.post(page(row), {"post": "yes"})
    assert not Model.objects.exists()
    assert ModelProvider.objects.exists() is (kind is Model)
    assert AuditLog.objects.filter(action="deleted", actor="root").exists()


def test_selected_models_say_what_becomes_of_them(staff, model):
    Model.objects.create(provider=model.provider, name="unused")
    url = reverse("admin:langbot_agents_model_changelist")
    act = {
        "action": "delete_selected",
        "_selected_action": list(Model.objects.values_list("pk", flat=True)),
    }
    assert "archived instead" in staff.post(url, act).content.decode()
    answer = staff.post(url, {**act, "post": "yes"}, follow=True)
    assert "1 model deleted." in said(answer)
    assert "1 is in use by agents" in said(answer)
    assert list(Model.objects.values_list("name", "enabled")) == [
        (model.name, False),
    ]


def test_bot_that_bindings_name_is_kept_until_they_go(staff):
    bot = Bot.objects.get()
    binding = AgentBinding.objects.get()
    body = staff.get(page(bot)).content.decode()
    assert page(binding, "change") in body
    assert "Archive it" not in body
    staff.post(page(bot), {"post": "yes"})
    bot.refresh_from_db()
    assert bot.archived_at is None
    binding.delete()
    assert "Archive it" in staff.get(page(bot)).content.decode()
    answer = staff.post(page(bot), {"post": "yes"}, follow=True)
    assert "1 bot has a history" in said(answer)
    bot.refresh_from_db()
    assert (bot.archived_at is None, bot.enabled) == (False, False)
    url = reverse("admin:langbot_platforms_bot_changelist")
    staff.post(url, {"action": "enable", "_selected_action": [bot.pk]})
    staff.post(url, {"action": "unarchive", "_selected_action": [bot.pk]})
    bot.refresh_from_db()
    assert (bot.archived_at, bot.enabled) == (None, False)


def test_agent_with_runs_is_archived_and_its_runs_stay(staff):
    agent = Agent.objects.get()
    runs = AgentRun.objects.count()
    body = staff.get(page(agent)).content.decode()
    assert f"?agent__id__exact={agent.pk}" in body
    staff.post(page(agent), {"post": "yes"})
    agent.refresh_from_db()
    assert agent.archived_at is not None
    assert AgentRun.objects.count() == runs > 0
    assert AgentBinding.objects.filter(agent=agent).exists()


def test_provider_page_deletes_no_model(staff):
    provider = ModelProvider.objects.get()
    body = staff.get(page(provider, "change")).content.decode()
    assert "models-0-DELETE" not in body


def test_someone_who_may_not_delete_is_refused(client, staff):
    person = get_user_model().objects.create_user("viewer", is_staff=True)
    client.force_login(person)
    assert client.get(page(Agent.objects.get())).status_code in {302, 403, 404}


@pytest.mark.parametrize("others", [True, False])
def test_first_model_fills_the_first_empty_selector(staff, others):
    if not others:
        Model.objects.all().delete()
    provider = ModelProvider.objects.get()
    later = AgentFactory.build(
        workspace=provider.workspace,
        runner_id=RUNNER,
        runner_config={"api-key": "secret"},
    )
    save_agent(later, author="ada")
    assert RunnerDescriptor.objects.filter(runner_id=RUNNER).exists()
    data = {"provider": provider.pk, "name": "new", "kind": "llm", "enabled": "on"}
    data |= {"prices-TOTAL_FORMS": 0, "prices-INITIAL_FORMS": 0}
    url = reverse("admin:langbot_agents_model_add")
    answer = staff.post(url, {**data, "extra_args": "{}"}, follow=True)
    model = Model.objects.get(name="new")
    configs = Agent.objects.order_by("pk").values_list("runner_config", flat=True)
    named = ["model" in config for config in configs]
    assert named == ([False, False] if others else [True, False])
    assert ("it uses" in said(answer)) is not others
    if not others:
        assert configs[0]["model"]["primary"] == str(model.public_id)
