"""What people say while the local agent works reaches its model, and nothing twice."""

import pytest

from runners.official.local_agent import LocalAgentRunner
from runners.official.local_agent_follow_ups import follow_up_block
from runners.sdk.answers import SteeringItem
from tests.runners.official.test_local_agent import Model, types

APIS = {"history_page": True, "prompt_get": True, "steering_pull": True}


def item(text, **given):
    return {
        "claimed_run_id": "r",
        "event": {"event_id": text, "event_type": "message.received", "source": "t"},
        "input": {"text": text, **given},
    }


class Followed(Model):
    """Gives the next of `said` at each pull, and asks for `tools` at first."""

    def __init__(self, side):
        super().__init__(side)
        self.said = []
        self.tools = []

    async def reply(self, request):
        if request.action == "steering_pull":
            items = self.said.pop(0) if self.said else []
            await self.side.answer(request, {"items": items})
        elif request.action == "call_tool":
            await self.side.answer(request, {"result": {"ok": True}})
        else:
            await super().reply(request)

    async def stream(self, request):
        if self.tools:
            call = {
                "id": "c1",
                "type": "function",
                "function": {"name": self.tools.pop(0), "arguments": "{}"},
            }
            chunk = {"content": None, "tool_calls": [call]}
            await self.side.answer(request, {"chunk": chunk})
        await super().stream(request)

    async def run(self, **parts):
        return await super().run(**{"context": {"available_apis": APIS}, **parts})


@pytest.fixture
async def model(connect_plugin):
    return Followed(await connect_plugin(LocalAgentRunner()))


async def test_what_is_said_before_the_end_gets_an_answer_in_the_same_run(model):
    model.said = [[item("and tomorrow?")]]
    found = await model.run()
    assert types(found).count("message.completed") == 2
    assert types(found)[-1] == "run.completed"
    second = model.asked("invoke_llm_stream")[1]["messages"]
    assert [one["role"] for one in second[-3:]] == ["user", "assistant", "user"]
    assert second[-1]["content"] == "and tomorrow?"
    assert len(model.asked("steering_pull")) == 2


async def test_what_is_said_during_a_tool_call_stands_behind_its_answer(model):
    model.tools = ["weather"]
    model.said = [[item("in Rome, please")]]
    tool = {"tool_name": "weather", "parameters": {"type": "object"}}
    resources = {
        "models": [{"model_id": "m1"}],
        "tools": [{**tool, "operations": ["call"]}],
    }
    await model.run(resources=resources)
    messages = model.asked("invoke_llm_stream")[1]["messages"]
    assert [one["role"] for one in messages[-3:]] == ["assistant", "tool", "user"]
    assert messages[-1]["content"].startswith("<user_follow_up>")
    assert "1. in Rome, please" in messages[-1]["content"]


async def test_without_the_right_nothing_is_asked(model):
    model.said = [[item("late")]]
    await model.run(context={"available_apis": {**APIS, "steering_pull": False}})
    assert model.asked("steering_pull") == []


async def test_a_refused_pull_ends_nothing(model):
    async def refuse(request):
        await model.side.refuse(request, "rate_limited")

    usual, model.reply = (
        model.reply,
        lambda request: (
            refuse(request) if request.action == "steering_pull" else usual(request)
        ),
    )
    assert types(await model.run())[-1] == "run.completed"


def block(*texts):
    return follow_up_block([SteeringItem.model_validate(item(text)) for text in texts])


def test_a_block_is_numbered_and_bounded():
    text = block("a" * 2500, "b" * 2500, "c" * 2500, "d", "e")
    assert "1. " + "a" * 2000 + "…\n" in text
    assert "2. " + "b" * 2000 + "…\n" in text
    assert "3. " not in text
    assert "(3 more messages were left out)" in text
    assert text.endswith("</user_follow_up>")
    for rule in ("Acknowledge", "before any further tool call", "at least one short"):
        assert rule in text


def test_a_block_names_files():
    given = item("look", attachments=[{"id": "f1"}, {"id": "f2"}])
    assert "1. look (files: f1, f2)" in follow_up_block(
        [SteeringItem.model_validate(given)]
    )


def test_a_block_names_the_page():
    given = item("look", attachments=[{"id": "f1"}])
    given["event"]["data"] = {"page": {"url": "https://shop/1", "content": "Shoes"}}
    told = follow_up_block([SteeringItem.model_validate(given)])
    assert "1. look (page: https://shop/1; files: f1)" in told
    assert "Shoes" not in told
