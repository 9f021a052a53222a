"""The local agent's tools: rounds of calls, their answers, their errors, a resume."""

import json

import pytest

from runners.official.local_agent import LocalAgentRunner
from runners.protocol.errors import ErrorCode
from runners.sdk.calls import HostCallError

CONFIG = {"model": {"primary": "m", "fallbacks": []}}


def wants(*calls, text=""):
    """Return a model's answer that asks for tools: (id, name, arguments)."""
    return {
        "content": text or None,
        "tool_calls": [
            {
                "id": call_id,
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for call_id, name, arguments in calls
        ],
    }


class Model:
    """Says the answers in turn and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def __call__(self, request):
        self.asked.append(request)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def run(model, tools, *, config=CONFIG, **given):
    given = {"models": {"m": model}, "tools": tools, "config": config, **given}
    return await LocalAgentRunner.test("hi", **given)


def add(a, b):
    """Adds two numbers"""
    return {"sum": a + b}


@pytest.mark.parametrize("streaming", [True, False])
async def test_it_calls_tools_until_the_model_answers(streaming):
    model = Model(
        wants(("c1", "add", '{"a": 1, "b": 2}'), ("c2", "add", '{"a": 3, "b": 4}')),
        wants(("c3", "add", '{"a": 5, "b": 6}'), text="Nearly there."),
        "It is 11.",
    )
    done = await run(model, {"add": add}, streaming=streaming)
    assert done.reply.endswith("It is 11.")
    completed = done.of("tool.call.completed")
    named = [(one["tool_call_id"], one["result"]) for one in completed]
    assert named == [("c1", {"sum": 3}), ("c2", {"sum": 7}), ("c3", {"sum": 11})]
    last = model.asked[-1]["messages"]
    assert [one["role"] for one in last[-6:]] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
        "tool",
    ]
    assert last[-4]["tool_call_id"] == "c1"
    assert json.loads(last[-4]["content"]) == {"sum": 3}
    assert last[-2]["content"] == "Nearly there."


async def test_the_model_is_told_of_its_tools_but_not_of_the_reply():
    model = Model("fine")
    await run(model, {"add": add})
    (func,) = model.asked[0]["funcs"]
    assert (func["name"], func["description"]) == ("add", "Adds two numbers")


async def test_without_tools_none_are_offered():
    model = Model("fine")
    await run(model, {})
    assert model.asked[0]["funcs"] == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ('{"a": 1, "b": "x"}', "TypeError"),
        ("nonsense", "not a JSON object"),
        ("[1]", "not a JSON object"),
    ],
)
async def test_an_error_is_the_tools_answer(arguments, told):
    model = Model(wants(("c1", "add", arguments)), "I could not.")
    done = await run(model, {"add": add})
    assert done.reply == "I could not."
    assert told in json.loads(model.asked[1]["messages"][-1]["content"])["error"]


async def test_a_refused_call_is_told_with_its_code():
    def denied():
        raise HostCallError(ErrorCode.PERMISSION_DENIED, "no")

    model = Model(wants(("c1", "denied", "")), "Then not.")
    await run(model, {"denied": denied})
    answer = json.loads(model.asked[1]["messages"][-1]["content"])
    assert answer == {"error": "permission_denied: no"}


async def test_after_the_last_round_it_has_to_answer():
    def answer(request):
        return wants(("c", "add", '{"a": 1, "b": 1}')) if request["funcs"] else "enough"

    config = {**CONFIG, "max-tool-iterations": 2}
    done = await run(answer, {"add": add}, config=config)
    assert done.reply == "enough"
    assert len(done.of("tool.call.completed")) == 2


async def test_a_long_answer_is_cut_for_the_model():
    model = Model(wants(("c1", "long", "{}")), "ok")
    config = {**CONFIG, "max-tool-result-chars": 100}
    await run(model, {"long": {"text": "y" * 1000}}, config=config)
    content = model.asked[1]["messages"][-1]["content"]
    assert content.startswith('{"text": "yyy')
    assert "more characters" in content
    assert len(content) < 200


async def test_usage_of_all_rounds_is_added():
    model = Model(wants(("c1", "add", '{"a": 1, "b": 1}')), "two")
    done = await run(model, {"add": add})
    assert done.results[-1].usage["total_tokens"] > 0
    assert len(model.asked) == 2


async def test_a_run_that_goes_on_finds_its_own_calls_in_the_history():
    call = wants(("c1", "add", "{}")) | {"role": "assistant"}
    answer = {"role": "tool", "tool_call_id": "c1", "content": '{"sum": 3}'}
    rows = [
        {"seq": 1, "role": "user", "content": "earlier", "event_id": "old"},
        {"seq": 2, "item_type": "tool_call", "run_id": "other", "content_json": call},
        {"seq": 4, "item_type": "tool_call", "run_id": "mine", "content_json": call},
        {
            "seq": 5,
            "item_type": "tool_result",
            "run_id": "mine",
            "content_json": answer,
        },
    ]
    page = [{"role": "assistant", **row} for row in reversed(rows)]
    model = Model("It is 3.")
    await run(
        model,
        {"add": add},
        calls={"history_page": lambda data: {"items": page, "has_more": False}},
        context={"run_id": "mine"},
    )
    messages = [one for one in model.asked[0]["messages"] if one["role"] != "system"]
    assert [one["role"] for one in messages] == ["user", "user", "assistant", "tool"]
    assert messages[0]["content"] == "earlier"
    assert messages[2]["tool_calls"][0]["id"] == messages[3]["tool_call_id"] == "c1"
