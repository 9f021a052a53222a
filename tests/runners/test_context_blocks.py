"""AG-69: what is put around people's words for a model is in no answer to anybody."""

import json

import pytest

from agents.models import RunnerDescriptor
from runners.models import AgentRun
from runners.official.local_agent import LocalAgentRunner
from runners.official.local_agent_follow_ups import follow_up_block
from runners.sdk.answers import SteeringItem
from runners.steering import claim_messages
from tests.runners.official.conftest import connect_plugin, host  # noqa: F401  fixtures
from tests.runners.official.test_local_agent_follow_ups import APIS, Followed, item
from tests.support import ledger

BLOCK = "user_follow_up"
TOOL = {"tool_name": "weather", "parameters": {"type": "object"}}
RESOURCES = {
    "models": [{"model_id": "m1"}],
    "tools": [{**TOOL, "operations": ["call"]}],
}


@pytest.fixture
async def model(connect_plugin):  # noqa: F811
    return Followed(await connect_plugin(LocalAgentRunner()))


async def test_the_block_goes_to_the_model_behind_all_else_and_nowhere_else(model):
    model.tools, model.said = ["weather"], [[item("in Rome, please")]]
    found = await model.run(resources=RESOURCES, context={"available_apis": APIS})
    asked = model.asked("invoke_llm_stream")[1]["messages"]
    assert [BLOCK in str(one["content"]) for one in asked] == [False] * (
        len(asked) - 1
    ) + [True]
    assert found[-1].type == "run.completed"
    assert BLOCK not in repr(found)
    others = [one.data for one in model.requests if "invoke" not in one.action]
    assert BLOCK not in json.dumps(others)


def answers(client, place, run):
    """Return every answer that has messages of a conversation, by its address."""
    urls = (
        f"{place}messages/",
        f"{place}pending/",
        place,
        f"/api/v1/runs/{run.public_id}/",
        f"/api/v1/runs/{run.public_id}/events/",
        f"/api/v1/events/{run.event.public_id}/",
    )
    return {url: client.get(url).json() for url in urls}


def test_transcripts_have_what_was_said_and_nothing_around_it(api_client, agent):
    RunnerDescriptor.objects.create(
        runner_id=agent.runner_id,
        plugin="langbot/echo",
        kind="Runner",
        capabilities={"steering": True},
    )
    made = api_client.post("/api/v1/conversations/", {}, format="json").json()
    place = f"/api/v1/conversations/{made['id']}/"

    def say(text):
        content = {"text": text, "agent": agent.slug}
        return api_client.post(f"{place}messages/", content, format="json").json()

    run = ledger.begin(AgentRun.objects.get(public_id=say("one")["run_id"]))
    snapshot = {"access": {"capabilities": {"steering": True}}, "delivery_policy": {}}
    AgentRun.objects.filter(pk=run.pk).update(snapshot=snapshot)
    assert say("two")["status"] == "queued"
    assert BLOCK not in json.dumps(answers(api_client, place, run))
    assert len(claim_messages(run.pk, 10)["messages"]) == 1
    ledger.complete(run, "both", publish=False)
    found = answers(api_client, place, run)
    assert BLOCK not in json.dumps(found)
    rows = found[f"{place}messages/"]["results"]
    assert [row["text"] for row in reversed(rows)] == ["one", "two", "both"]
    said = [row["content"] for row in reversed(rows) if row["role"] == "user"]
    assert said == [[{"type": "text", "text": text}] for text in ("one", "two")]


def test_words_that_look_like_a_block_are_a_persons_own(api_client, agent):
    """Nothing is injected into what is kept, so that nothing of it is taken away."""
    text = follow_up_block([SteeringItem.model_validate(item("mine"))])
    made = api_client.post("/api/v1/conversations/", {}, format="json").json()
    url = f"/api/v1/conversations/{made['id']}/messages/"
    api_client.post(url, {"text": text, "agent": agent.slug}, format="json")
    (row,) = api_client.get(url).json()["results"]
    assert row["text"] == text
