"""Tools of clients as rows of an agent's form, by the rules of REST."""

import json

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from agents.models import Agent, AgentVersion
from tests.langbot.admin_site_rows import populate
from tests.support.posted import posted

FIELD = "resource_client_tools"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"name": "local_time", "description": "The time there", "parameters": SCHEMA}
EMPTY = {"type": "object", "properties": {}}


@pytest.fixture
def staff(client, db):
    populate()
    root = get_user_model().objects.create_superuser("root", password="x")
    client.force_login(root)
    return client


@pytest.fixture
def agent(staff):
    return Agent.objects.get(slug="helper")


def address(agent):
    return reverse("admin:langbot_agents_agent_change", args=[agent.pk])


def form_of(client, agent):
    body = client.get(address(agent)).content.decode()
    data = posted(body[body.index('id="agent_form"') :])
    for name in ("_addanother", "_continue", "q"):
        data.pop(name, None)
    return dict(data.lists())


def send(client, agent, *rows):
    """Post the form with these rows of tools; returns the answer."""
    data = form_of(client, agent)
    for number, row in enumerate(rows):
        for part, text in enumerate(row):
            data[f"{FIELD}_{number}_{part}"] = [text]
    return client.post(address(agent), data)


def errors_of(response):
    assert response.status_code == 200
    return list(response.context["adminform"].form.errors.get(FIELD, []))


def stored(agent):
    agent.refresh_from_db()
    return agent.resource_policy.get("client_tools", [])


def test_tools_are_entered_shown_changed_and_taken_away(staff, agent):
    row = (TOOL["name"], TOOL["description"], json.dumps(SCHEMA))
    assert send(staff, agent, row, ("plain", "", "")).status_code == 302
    plain = {"name": "plain", "description": "", "parameters": EMPTY}
    assert stored(agent) == [TOOL, plain]
    shown = form_of(staff, agent)
    assert shown[f"{FIELD}_0_0"] == ["local_time"]
    assert json.loads(shown[f"{FIELD}_0_2"][0]) == SCHEMA
    assert shown[f"{FIELD}_2_0"] == [""]
    assert send(staff, agent, ("", " ", "\n"), ("plain", "New", "")).status_code == 302
    assert stored(agent) == [{**plain, "description": "New"}]


def test_an_untouched_form_leaves_them_as_rest_wrote_them(staff, agent):
    written = [{"name": "bare"}, TOOL, {"name": "lines", "description": " a\nb "}]
    agent.resource_policy = {"client_tools": written}
    agent.save()
    versions = AgentVersion.objects.count()
    assert staff.post(address(agent), form_of(staff, agent)).status_code == 302
    assert stored(agent) == written
    assert AgentVersion.objects.count() == versions


def test_an_untouched_form_drops_none_of_many(staff, agent):
    written = [{"name": f"tool_{number}"} for number in range(201)]
    agent.resource_policy = {"client_tools": written}
    agent.save()
    assert staff.post(address(agent), form_of(staff, agent)).status_code == 302
    assert stored(agent) == written


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (("no blank", "", ""), "Name: Enter 1 to 64 letters"),
        (("", "only words", ""), "Name: Enter 1 to 64 letters"),
        (("x" * 65, "", ""), "Name: Enter 1 to 64 letters"),
        (("a", "d" * 2001, ""), "for the model: Enter at most 2000 characters"),
        (("a", "d\x00", ""), "for the model: Text may hold no NUL"),
        (("a", "", "[]"), "schema): Enter a JSON object"),
        (("a", "", "{"), "schema): The body is not valid JSON"),
        (("a", "", '{"x": NaN}'), "not valid JSON"),
        (("a", "", "[" * 100_000), "not valid JSON"),
        (("a", "", '{"a":' * 70 + "1" + "}" * 70), "nested too deeply"),
        (("a", "", r'{"x": "\u0000"}'), "NUL"),
        (
            ("a", "", json.dumps({"x": "y" * 16_000})),
            "schema): Enter at most 16000 characters.",
        ),
    ],
)
def test_what_rest_refuses_is_refused_beside_the_field(staff, agent, row, problem):
    response = send(staff, agent, ("fine", "", ""), row)
    (error,) = errors_of(response)
    assert error.startswith("Tool 2 · ")
    assert problem in error
    body = response.content.decode()
    assert error.replace("'", "&#x27;").split(": ")[1][:20] in body
    assert posted(body)[f"{FIELD}_1_2"].strip() == row[2].strip()  # as entered
    assert stored(agent) == []


def test_versions_show_tools_as_text(staff, agent):
    send(staff, agent, (TOOL["name"], TOOL["description"], json.dumps(SCHEMA)))
    page = reverse("admin:langbot_agents_agent_versions", args=[agent.pk])
    body = staff.get(page).content.decode()
    assert "Tools of clients" in body
    assert "The time there" in body
