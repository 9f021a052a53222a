import io
import json

import pytest
from django.core.management import CommandError, call_command

from agents.choices import BindingScope
from agents.models import AgentBinding
from runners.models import AgentRun, EventLog
from tests.factories import AgentBindingFactory, AgentFactory, BotFactory
from tests.support.rest import admin_client_of

RESOLVE = "/api/v1/bindings/resolve/"
EVENT = {"type": "message.received", "bot": "web", "input": {"text": "hello"}}


@pytest.fixture
def client(workspace):
    return admin_client_of(workspace)


@pytest.fixture
def place(workspace):
    """Two bots, three agents, and a binding for each reason to lose."""
    BotFactory.create(workspace=workspace, slug="web")
    BotFactory.create(workspace=workspace, slug="mail")
    agent = AgentFactory.create(workspace=workspace, slug="winner")
    off = AgentFactory.create(workspace=workspace, slug="off", enabled=False)
    picky = AgentFactory.create(workspace=workspace, slug="picky", event_types=["a.b"])

    def bind(owner=agent, scope="workspace", **fields):
        return AgentBindingFactory.create(agent=owner, scope=scope, **fields)

    return {
        "winner": bind(scope="bot", scope_ref="web"),
        "a more specific or higher-priority binding won": bind(),
        "its agent is disabled": bind(off, priority=9),
        "its agent does not take this event type": bind(picky, priority=9),
        "its event pattern does not match": bind(event_pattern="group.*"),
        "its filter on actor does not match": bind(filters={"actor": "bob"}),
        "it is disabled": bind(enabled=False, priority=99),
        "it is for another bot": bind(scope="bot", scope_ref="mail"),
        "it is for messages sent to its agent by name": bind(scope="agent"),
    }


def resolve(client, **changed):
    answer = client.post(RESOLVE, {**EVENT, **changed}, format="json")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_it_names_the_winner_and_why_each_other_lost(client, place):
    found = resolve(client)
    assert found["status"] == "matched"
    assert found["winner"]["binding"] == str(place["winner"].public_id)
    assert found["winner"]["agent_slug"] == "winner"
    reasons = {row["binding"]: row["reason"] for row in found["lost"]}
    expected = {
        str(row.public_id): reason
        for reason, row in place.items()
        if reason != "winner"
    }
    assert reasons == expected
    assert found["lost_count"] == 8


def test_it_writes_nothing_and_agrees_with_admission(client, place):
    found = resolve(client)
    assert not EventLog.objects.exists()
    assert not AgentRun.objects.exists()
    sent = client.post("/api/v1/events/", EVENT, format="json")
    assert sent.json()["status"] == "started"
    binding = AgentRun.objects.get().binding
    assert binding is not None
    assert str(binding.public_id) == found["winner"]["binding"]


def test_facts_of_the_event_decide_filters(client, place):
    place["winner"].delete()
    found = resolve(client, actor={"id": "bob"})
    assert found["status"] == "tied"  # with the unfiltered one of the workspace
    assert len(found["tied"]) == 2
    assert found["winner"] is None
    sent = client.post("/api/v1/events/", {**EVENT, "actor": {"id": "bob"}}, "json")
    assert sent.json()["status"] == "ignored"


def test_an_event_that_nobody_answers(client, place):
    found = resolve(client, type="friend.request_received")
    assert (found["status"], found["winner"]) == ("ignored", None)
    assert found["lost_count"] == 9


def test_foreign_bindings_stay_foreign(client, workspace, place):
    AgentBinding.objects.all().delete()
    foreign = AgentFactory.create(name="Spy", slug="spy")
    AgentBindingFactory.create(agent=foreign, scope="workspace")
    assert resolve(client)["lost_count"] == 0
    AgentBindingFactory.create(agent=foreign, scope=BindingScope.GLOBAL)
    found = resolve(client)
    assert found["status"] == "matched"
    assert found["winner"]["agent"] is None
    assert "spy" not in json.dumps(found)


@pytest.mark.parametrize(
    "body",
    [{}, {"type": ""}, {"type": "x y"}, {"type": "a", "bot": "none"}, [], {"x": 1}],
)
def test_what_is_no_event_is_refused(client, workspace, body):
    assert client.post(RESOLVE, body, format="json").status_code == 400


def test_the_nearest_losers_are_named_and_all_are_counted(client, place):
    agent = place["winner"].agent
    AgentBinding.objects.bulk_create(
        AgentBinding(agent=agent, scope="workspace", priority=-number)
        for number in range(1, 301)
    )
    found = resolve(client)
    assert found["lost_count"] == 308
    assert len(found["lost"]) == 200


def test_it_asks_few_questions_however_many_there_are(
    client, place, django_assert_max_num_queries
):
    agent = place["winner"].agent
    client.post(RESOLVE, EVENT, format="json")
    AgentBinding.objects.bulk_create(
        AgentBinding(agent=agent, scope="workspace", priority=-number)
        for number in range(1, 101)
    )
    with django_assert_max_num_queries(12):
        resolve(client)


def test_the_command_says_the_same(client, place, tmp_path):
    path = tmp_path / "event.json"
    path.write_text(json.dumps(EVENT))
    output = io.StringIO()
    call_command("resolvebinding", str(path), stdout=output)
    assert json.loads(output.getvalue()) == resolve(client)
    path.write_text('{"type": "x y"}')
    with pytest.raises(CommandError, match="type"):
        call_command("resolvebinding", str(path))
    path.write_text("{")
    with pytest.raises(CommandError, match="not JSON"):
        call_command("resolvebinding", str(path))
    with pytest.raises(CommandError, match="No such file"):
        call_command("resolvebinding", str(tmp_path / "nothing"))
