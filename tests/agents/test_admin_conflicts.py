"""Two sessions, one row: nobody overwrites what they have not seen."""

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.urls import reverse

from agents.models import Agent, AgentBinding, Model, ModelProvider
from agents.services import reveal_config
from platforms.models import Bot
from tests.langbot.admin_site_rows import RUNNER, populate
from tests.support.posted import posted

AGENT = "langbot_agents_agent"


@pytest.fixture
def rows(db):
    populate()


def session(name):
    client = Client()
    client.force_login(get_user_model().objects.create_superuser(name, password="x"))
    return client


@pytest.fixture
def ada(rows):
    return session("ada")


@pytest.fixture
def ben(rows):
    return session("ben")


def opened(client, url):
    """Return what a browser would post of the page as it is now."""
    return form_in(client.get(url).content.decode())


def form_in(body):
    data = posted(body[body.index("_form") :])
    for name in ("_addanother", "_continue", "q"):
        data.pop(name, None)
    return {name: all_ if len(all_) > 1 else all_[0] for name, all_ in data.lists()}


def change_url(kind, row):
    return reverse(f"admin:{kind}_change", args=[row.pk])


def saved(answer):
    assert answer.status_code == 302, answer.context["errors"]


def conflicts(answer):
    """Return {input name: conflict} of a page that was refused."""
    assert answer.status_code == 200
    return {found.name: found for _row, found in answer.context["conflicts"]}


def texts(conflict):
    left = [line.left for line in conflict.lines if line.left is not None]
    right = [line.right for line in conflict.lines if line.right is not None]
    return "\n".join(left), "\n".join(right)


CASES = [
    (AGENT, Agent, "description", "mine", "theirs"),
    (AGENT, Agent, "event_types", "message.*", "group.*"),
    (AGENT, Agent, "config__timeout", "70", "80"),
    (AGENT, Agent, "config__prompt_0_1", "Be brief.", "Be long."),
    (AGENT, Agent, "delivery_maximum", "100", "200"),
    (AGENT, Agent, "bindings-0-event_pattern", "message.*", "group.*"),
    ("langbot_agents_agentbinding", AgentBinding, "event_pattern", "a.*", "b.*"),
    (
        "langbot_agents_modelprovider",
        ModelProvider,
        "base_url",
        "https://a.test",
        "https://b.test",
    ),
    ("langbot_agents_modelprovider", ModelProvider, "models-0-name", "one", "two"),
    ("langbot_agents_model", Model, "name", "one", "two"),
    ("langbot_platforms_bot", Bot, "name", "Mine", "Theirs"),
]


@pytest.mark.parametrize("case", CASES)
def test_second_save_is_shown_both_values_and_decides(ada, ben, case):
    kind, model, name, mine, theirs = case
    url = change_url(kind, model.objects.get())
    first, second = opened(ada, url), opened(ben, url)
    for form, value in ((first, theirs), (second, mine)):
        form[name] = value
        if kind == "langbot_platforms_bot":
            form["config__url"] = "https://there.test/hook"
    saved(ada.post(url, first))
    before = opened(ada, url)[name]
    found = conflicts(ben.post(url, second))
    ((keep, conflict),) = found.items()
    left, right = texts(conflict)
    assert (mine in left, theirs in right, conflict.touched) == (True, True, True)
    assert opened(ada, url)[name] == before
    # Without a choice it is asked again, with one it is saved.
    assert list(conflicts(ben.post(url, second))) == [keep]
    second[keep] = f"mine:{conflict.token}"
    saved(ben.post(url, second))
    assert opened(ada, url)[name] == mine


@pytest.mark.parametrize("case", CASES)
def test_stored_value_is_taken_when_chosen(ada, ben, case):
    kind, model, name, mine, theirs = case
    url = change_url(kind, model.objects.get())
    first, second = opened(ada, url), opened(ben, url)
    for form, value in ((first, theirs), (second, mine)):
        form[name] = value
        if kind == "langbot_platforms_bot":
            form["config__url"] = "https://there.test/hook"
    saved(ada.post(url, first))
    (keep,) = conflicts(ben.post(url, second))
    second[keep] = "theirs"
    saved(ben.post(url, second))
    assert opened(ada, url)[name] == theirs


def test_changes_of_other_fields_are_offered_as_theirs(ada, ben):
    agent = Agent.objects.get()
    url = change_url(AGENT, agent)
    first, second = opened(ada, url), opened(ben, url)
    first["description"], second["name"] = "by Ada", "By Ben"
    saved(ada.post(url, first))
    answer = ben.post(url, second)
    ((keep, conflict),) = conflicts(answer).items()
    assert (keep, conflict.touched) == ("keep__description", False)
    assert 'value="theirs" checked' in answer.content.decode()
    assert "Last changed by ada" in answer.content.decode()
    second[keep] = "theirs"
    saved(ben.post(url, second))
    agent.refresh_from_db()
    assert (agent.name, agent.description) == ("By Ben", "by Ada")


def test_choice_is_made_against_the_value_that_was_seen(ada, ben):
    url = change_url(AGENT, Agent.objects.get())
    first, second = opened(ada, url), opened(ben, url)
    first["description"], second["description"] = "one", "mine"
    saved(ada.post(url, first))
    (conflict,) = conflicts(ben.post(url, second)).values()
    third = opened(ada, url)
    third["description"] = "two"
    saved(ada.post(url, third))
    second["keep__description"] = f"mine:{conflict.token}"
    (again,) = conflicts(ben.post(url, second)).values()
    assert texts(again) == ("mine", "two")


def test_chosen_value_survives_another_error(ada, ben):
    url = change_url(AGENT, Agent.objects.get())
    first, second = opened(ada, url), opened(ben, url)
    first["description"], second["description"] = "theirs", "mine"
    saved(ada.post(url, first))
    second |= {"keep__description": "theirs", "name": ""}
    answer = ben.post(url, second)
    again = form_in(answer.content.decode())
    assert again["keep__description"] == "theirs"
    again["name"] = "Named"
    saved(ben.post(url, again))
    agent = Agent.objects.get()
    assert (agent.name, agent.description) == ("Named", "theirs")


def test_two_new_secrets_collide_and_are_not_shown(ada, ben):
    agent = Agent.objects.get()
    url = change_url(AGENT, agent)
    first, second = opened(ada, url), opened(ben, url)
    first["config__api-key"], second["config__api-key"] = "secret-a", "secret-b"
    saved(ada.post(url, first))
    answer = ben.post(url, second)
    (conflict,) = conflicts(answer).values()
    assert "secret-a" not in answer.content.decode()
    assert "secret" in str(texts(conflict))
    second["keep__config__api-key"] = f"mine:{conflict.token}"
    saved(ben.post(url, second))
    agent.refresh_from_db()
    assert reveal_config(agent.runner_config)["api-key"] == "secret-b"


def test_kept_secret_does_not_collide(ada, ben):
    provider = ModelProvider.objects.get()
    url = change_url("langbot_agents_modelprovider", provider)
    first, second = opened(ada, url), opened(ben, url)
    first["api_key"], second["timeout_seconds"] = "another key", "7"
    saved(ada.post(url, first))
    saved(ben.post(url, second))
    provider.refresh_from_db()
    assert (provider.api_key, provider.timeout_seconds) == ("another key", 7)


def test_runner_changed_by_somebody_else_brings_its_settings(ada, ben):
    from agents.models import RunnerDescriptor

    other = RunnerDescriptor.objects.create(
        runner_id="plugin:acme/other/main",
        plugin="acme/other",
        kind="Runner",
        config_schema=[{"name": "tone", "type": "string", "default": "warm"}],
    )
    agent = Agent.objects.get()
    url = change_url(AGENT, agent)
    first, second = opened(ada, url), opened(ben, url)
    first |= {"runner_id": other.runner_id, "grown_for": other.runner_id}
    saved(ada.post(url, first))
    second["name"] = "By Ben"
    assert list(conflicts(ben.post(url, second))) == ["keep__runner_id"]
    second["keep__runner_id"] = "theirs"
    answer = ben.post(url, second)
    body = answer.content.decode()
    assert 'name="config__tone"' in body
    saved(ben.post(url, form_in(body)))
    agent.refresh_from_db()
    assert (agent.name, agent.runner_id) == ("By Ben", other.runner_id)


def test_choice_of_another_runner_is_no_collision(ada):
    from agents.models import RunnerDescriptor

    RunnerDescriptor.objects.create(
        runner_id="plugin:acme/other/main",
        plugin="acme/other",
        kind="Runner",
        config_schema=[{"name": "timeout", "type": "integer", "default": 5}],
    )
    agent = Agent.objects.get()
    assert agent.runner_id == RUNNER
    url = change_url(AGENT, agent)
    data = opened(ada, url)
    data |= {
        "runner_id": "plugin:acme/other/main",
        "grown_for": "plugin:acme/other/main",
        "config__timeout": "9",
    }
    saved(ada.post(url, data))
    agent.refresh_from_db()
    assert agent.runner_config == {"timeout": 9}


@pytest.mark.parametrize("sent", ["", "{", "[1]"])
def test_form_without_fingerprints_overwrites_nothing(ada, sent):
    url = change_url(AGENT, Agent.objects.get())
    data = opened(ada, url)
    assert json.loads(data["opened_with"])
    data |= {"opened_with": sent, "name": "Renamed"}
    assert list(conflicts(ada.post(url, data))) == ["keep__name"]


@pytest.mark.django_db(transaction=True)
def test_of_two_saves_at_the_same_moment_one_is_asked():
    populate()
    url = change_url(AGENT, Agent.objects.get())
    clients = [session("ada"), session("ben")]
    forms = [opened(client, url) for client in clients]
    start = Barrier(2)

    def save(number):
        try:
            data = {**forms[number], "description": f"by {number}"}
            start.wait()
            return clients[number].post(url, data).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        answers = sorted(pool.map(save, range(2)))
    assert answers == [200, 302]
    assert Agent.objects.get().version == 2
