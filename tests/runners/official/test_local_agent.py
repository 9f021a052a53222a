from typing import Any

import pytest

from runners.official.local_agent import LocalAgentRunner
from runners.protocol.frames import Request, build_end
from runners.protocol.results import parse_result

PROMPT = [{"role": "system", "content": "Be brief."}]
RESOURCES = {"models": [{"model_id": name} for name in ("m1", "m2", "m3")]}
MODEL = {"primary": "m1", "fallbacks": ["m2", "m3"]}
WHOLE = {"surface": "x", "supports_streaming": False}
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


class Model:
    """Plays host and model: answers every call, streams or refuses."""

    def __init__(self, side):
        self.side = side
        self.requests = []
        self.history = []
        self.words = ["Hel", "lo"]
        self.failing = {}  # model id -> words it says before it fails

    async def run(self, **parts):
        parts = {"resources": RESOURCES, "config": {"model": MODEL}} | parts
        seq_id = await self.side.start(**parts)
        found: list[dict[str, Any]] = []
        while True:
            frame = await self.side.receive()
            if isinstance(frame, Request):
                self.requests.append(frame)
                await self.reply(frame)
            elif frame.seq_id != seq_id or frame.is_end:
                return [parse_result(item) for item in found]
            else:
                found.append(frame.data)

    async def reply(self, request):
        match request.action:
            case "get_prompt":
                await self.side.answer(request, {"prompt": PROMPT})
            case "history_page":
                await self.side.answer(request, self.page(request.data))
            case "invoke_llm":
                await self.whole(request)
            case "invoke_llm_stream":
                await self.stream(request)
            case other:
                await self.side.refuse(request, f"unexpected {other}")

    def page(self, asked):
        older = [
            item
            for item in reversed(self.history)
            if asked["before_cursor"] is None
            or item["seq"] < int(asked["before_cursor"])
        ]
        items = older[: asked["limit"]]
        cursor = str(items[-1]["seq"]) if items else None
        has_more = len(older) > len(items)
        return {"items": items, "next_cursor": cursor, "has_more": has_more}

    async def whole(self, request):
        if request.data["llm_model_uuid"] in self.failing:
            await self.side.refuse(request, "model.error", retryable=True)
        else:
            message = {"role": "assistant", "content": "".join(self.words)}
            await self.side.answer(request, {"message": message, "usage": USAGE})

    async def stream(self, request):
        name = request.data["llm_model_uuid"]
        for word in self.failing.get(name, self.words):
            await self.side.answer(request, {"chunk": {"content": word}})
        if name in self.failing:
            await self.side.refuse(request, "model.error", retryable=True)
            return
        await self.side.answer(request, {"usage": USAGE})
        await self.side.socket.send(build_end(request.seq_id), text=True)

    def asked(self, action):
        return [item.data for item in self.requests if item.action == action]

    def say(self, role, text, **fields):
        seq = len(self.history) + 1
        item = {"seq": seq, "role": role, "content": text, "event_id": f"old{seq}"}
        self.history.append(item | fields)


@pytest.fixture
async def model(connect_plugin):
    return Model(await connect_plugin(LocalAgentRunner()))


def types(found):
    return [result.type for result in found]


def test_it_asks_for_what_the_first_version_needs():
    assert LocalAgentRunner.runner_id() == "plugin:langbot/local-agent/default"
    assert LocalAgentRunner.permissions == {
        "models": ("invoke", "stream", "count_tokens"),
        "tools": ("detail", "call"),
        "history": ("page",),
    }


async def test_it_streams_increments_and_ends_with_the_whole_and_its_usage(model):
    found = await model.run()
    assert types(found) == [
        "message.delta",
        "message.delta",
        "message.completed",
        "run.completed",
    ]
    assert [item.data.chunk.content for item in found[:2]] == ["Hel", "lo"]
    assert all(item.data.chunk.is_increment for item in found[:2])
    assert found[2].data.message.content == "Hello"
    assert found[3].usage == USAGE


async def test_a_plain_turn_makes_three_calls(model):
    await model.run()
    actions = [request.action for request in model.requests]
    assert actions == ["get_prompt", "history_page", "invoke_llm_stream"]


async def test_the_model_sees_prompt_history_and_message_in_order(model):
    model.say("user", "first")
    model.say("assistant", "answer")
    model.say("reasoning", "thought")
    model.say("assistant", "tool?", item_type="tool_call")
    model.say("user", "hello host", event_id="e1")
    await model.run()
    (asked,) = model.asked("invoke_llm_stream")
    assert asked["messages"] == [
        *PROMPT,
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "answer"},
        {"role": "user", "content": "hello host"},
    ]


@pytest.mark.parametrize(("limit", "expected"), [(3, 3), (0, 0), (150, 150), ("x", 50)])
async def test_history_is_limited_by_the_config(model, limit, expected):
    for number in range(200):
        model.say("user", f"{number}")
    config = {"model": MODEL, "context-history-fetch-limit": limit}
    await model.run(config=config)
    (asked,) = model.asked("invoke_llm_stream")
    spoken = [message["content"] for message in asked["messages"][1:-1]]
    assert spoken == [f"{number}" for number in range(200 - expected, 200)]
    assert all(page["limit"] <= 100 for page in model.asked("history_page"))


async def test_long_messages_come_back_whole(model):
    model.say("assistant", "cut", content_json={"content": "cut no more"})
    await model.run()
    (asked,) = model.asked("invoke_llm_stream")
    assert asked["messages"][1]["content"] == "cut no more"


@pytest.mark.parametrize(
    "change",
    [
        {"delivery": WHOLE},
        {"runtime": {"metadata": {"streaming_supported": False}}},
    ],
)
async def test_without_streaming_there_is_one_message(model, change):
    found = await model.run(**change)
    assert types(found) == ["message.completed", "run.completed"]
    assert found[0].data.message.content == "Hello"
    assert found[1].usage == USAGE
    assert not model.asked("invoke_llm_stream")


@pytest.mark.parametrize("change", [{}, {"delivery": WHOLE}])
async def test_a_model_that_fails_at_once_is_replaced(model, change):
    model.failing = {"m1": [], "m2": []}
    found = await model.run(**change)
    assert types(found)[-2:] == ["message.completed", "run.completed"]
    assert types(found)[:2] == ["processor.log", "processor.log"]
    asked = model.asked("invoke_llm") or model.asked("invoke_llm_stream")
    assert [data["llm_model_uuid"] for data in asked] == ["m1", "m2", "m3"]


@pytest.mark.parametrize("change", [{}, {"delivery": WHOLE}])
async def test_when_every_model_fails_the_last_reason_is_told(model, change):
    model.failing = {"m1": [], "m2": [], "m3": []}
    found = await model.run(**change)
    assert found[-1].type == "run.failed"
    assert found[-1].data.code == "model.error"
    assert found[-1].data.retryable


async def test_after_the_first_words_no_other_model_speaks(model):
    model.failing = {"m1": ["Hel"]}
    found = await model.run()
    assert types(found) == ["message.delta", "run.failed"]
    assert len(model.asked("invoke_llm_stream")) == 1


@pytest.mark.parametrize(
    "parts",
    [
        {"resources": {}},
        {"config": {}},
        {"config": {"model": {"primary": "", "fallbacks": []}}},
        {"config": {"model": "__none__"}},
        {"config": {"model": {"primary": "unknown", "fallbacks": None}}},
        {"resources": {"models": [{"model_id": "m1", "operations": ["rerank"]}]}},
    ],
)
async def test_without_a_usable_model_it_says_so(model, parts):
    (failed,) = await model.run(**parts)
    assert failed.type == "run.failed"
    assert failed.data.code == "runner.no_model"
    assert not model.requests


async def test_the_model_may_be_a_plain_id(model):
    found = await model.run(config={"model": "m2"})
    assert found[-1].type == "run.completed"


async def test_silence_is_no_answer(model):
    model.words = []
    (failed,) = await model.run()
    assert failed.data.code == "runner.empty_output"
    assert failed.usage == USAGE


async def test_images_reach_the_model(model):
    image = {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}
    contents = [{"type": "text", "text": "what is it?"}, image]
    await model.run(input={"text": "what is it?", "contents": contents})
    (asked,) = model.asked("invoke_llm_stream")
    assert asked["messages"][-1] == {"role": "user", "content": contents}


TEXT_FILE = {
    "name": "a.txt",
    "mime_type": "text/plain",
    "size": 5,
    "content": "data:text/plain;base64,aGVsbG8=",
}


@pytest.mark.parametrize(
    ("file", "shown"),
    [
        (TEXT_FILE, '<file name="a.txt" type="text/plain" size="5">\nhello\n</file>'),
        (
            TEXT_FILE | {"content": "data:text/plain;base64,/w=="},
            '<file name="a.txt" type="text/plain" size="5">not shown</file>',
        ),
        (
            {"name": 'b".zip', "mime_type": "application/zip", "ref": "x"},
            '<file name="b\'.zip" type="application/zip">not shown</file>',
        ),
    ],
)
async def test_no_file_of_a_message_is_left_out_in_silence(model, file, shown):
    await model.run(input={"text": "look", "attachments": [file]})
    (asked,) = model.asked("invoke_llm_stream")
    assert asked["messages"][-1]["content"] == [
        {"type": "text", "text": "look"},
        {"type": "text", "text": shown},
    ]


async def test_an_attached_picture_reaches_the_model(model):
    picture = "data:image/png;base64,aGVsbG8="
    file = {"name": "a.png", "mime_type": "image/png", "content": picture}
    await model.run(input={"text": "look", "attachments": [file]})
    (asked,) = model.asked("invoke_llm_stream")
    (_, shown) = asked["messages"][-1]["content"]
    assert shown["image_base64"] == picture


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ({"url": "https://shop/1", "content": "Shoes"}, "\nhttps://shop/1\nShoes\n"),
        ({"content": "Shoes"}, "\nShoes\n"),
        ({"other": 1}, None),
        (7, None),
    ],
)
async def test_the_page_that_a_person_looks_at_reaches_the_model(model, page, told):
    event = {"event_id": "e1", "event_type": "message.received", "source": "t"}
    await model.run(
        event={**event, "data": {"page": page}}, input={"text": "how much?"}
    )
    (asked,) = model.asked("invoke_llm_stream")
    said = f"how much?\n\n<page>{told}</page>" if told else "how much?"
    assert asked["messages"][-1] == {"role": "user", "content": said}


@pytest.mark.parametrize(
    ("skills", "told"),
    [
        (
            [
                {"name": "deploy", "description": "Ships it", "path": ".agents/d.md"},
                {"name": "lint", "tree": ["never", "told"]},
            ],
            "\n- deploy: Ships it (.agents/d.md)\n- lint\n",
        ),
        ([{"description": "nameless"}, 7], None),
        ("deploy", None),
    ],
)
async def test_the_skills_of_a_senders_project_reach_the_model(model, skills, told):
    """LO-17."""
    await model.run(metadata={"project_skills": skills}, input={"text": "ship it"})
    (asked,) = model.asked("invoke_llm_stream")
    block = f"<available_skills>{told}</available_skills>"
    said = f"ship it\n\n{block}" if told else "ship it"
    assert asked["messages"][-1] == {"role": "user", "content": said}


async def test_an_event_without_words_is_told_as_an_event(model):
    event = {"event_id": "e1", "event_type": "group.member_joined", "source": "t"}
    await model.run(event=event, input={})
    (asked,) = model.asked("invoke_llm_stream")
    assert "[Event]" in asked["messages"][-1]["content"]
    assert "group.member_joined" in asked["messages"][-1]["content"]


async def test_without_prompt_and_history_access_the_config_is_used(model):
    prompt = [{"role": "system", "content": "From config."}]
    config = {"model": MODEL, "prompt": prompt}
    await model.run(context={}, config=config)
    (asked,) = model.asked("invoke_llm_stream")
    assert asked["messages"][0] == prompt[0]
    assert [request.action for request in model.requests] == ["invoke_llm_stream"]


async def test_thinking_is_removed_by_the_host_when_asked(model):
    await model.run(config={"model": MODEL, "remove-think": True})
    (asked,) = model.asked("invoke_llm_stream")
    assert asked["remove_think"] is True


@pytest.mark.parametrize("delivery", [{}, {"delivery": WHOLE}])
async def test_thoughts_of_a_model_are_passed_on_apart(model, delivery):
    thought = {"provider_specific_fields": {"reasoning_content": "Hm"}}

    async def whole(request):
        message = {"role": "assistant", "content": "Hello", **thought}
        await model.side.answer(request, {"message": message, "usage": USAGE})

    async def stream(request):
        for part in ({"content": None, **thought}, {"content": "Hello"}):
            await model.side.answer(request, {"chunk": part})
        await model.side.socket.send(build_end(request.seq_id), text=True)

    model.whole, model.stream = whole, stream
    found = await model.run(**delivery)
    (reasoning,) = (one for one in found if one.type == "reasoning.delta")
    assert reasoning.data.text == "Hm"
    assert found.index(reasoning) == 0
    said = [one.data.message.text for one in found if one.type == "message.completed"]
    assert said == ["Hello"]


async def test_unanswered_tool_calls_of_earlier_turns_are_left_out(model):
    call = {"id": "c1", "type": "function", "function": {"name": "t"}}
    asked = {"role": "assistant", "content": None, "tool_calls": [call]}
    model.say("user", "Hi", run_id="r1")
    model.say("assistant", "t", item_type="tool_call", content_json=asked, run_id="r")
    await model.run()
    (request,) = model.asked("invoke_llm_stream")
    assert not [one for one in request["messages"] if one.get("tool_calls")]
    assert [one["content"] for one in request["messages"]][1:-1] == ["Hi"]
