"""Host calls of a run over a real socket."""

import asyncio
from typing import Any

import pytest

from runners.protocol.frames import Request, build_end
from runners.sdk import HostCallError, results
from runners.sdk.api import HostApi
from tests.runners.sdk import sample_runners
from tests.runners.sdk.call_cases import CALLS, MESSAGES, RUN_ID


@pytest.fixture
async def side(connect_plugin):
    return await connect_plugin(*(runner() for runner in sample_runners.ALL))


async def call(side, name, *args):
    config = {"call": name, "args": list(args)}
    seq_id = await side.start("caller", config=config)
    request = await side.receive()
    assert isinstance(request, Request)
    return seq_id, request


@pytest.mark.parametrize(("name", "args", "data", "reply", "result"), CALLS)
async def test_a_call_asks_and_returns_as_the_wire_says(
    side, name, args, data, reply, result
):
    seq_id, request = await call(side, name, *args)
    actions = {
        "call": args[:1],
        "storage_get": ["get_plugin_storage"],
        "storage_delete": ["delete_workspace_storage"],
        "storage_keys": ["get_plugin_storage_keys"],
        "retrieve_knowledge": ["retrieve_knowledge_base"],
        "send_message": ["call_platform_api"],
        "reply": ["call_tool" if args == ["hi"] else "call_platform_api"],
        "reply_files": ["call_platform_api"],
    }
    assert [request.action] == actions.get(name, [name])
    sent = dict(request.data)
    if sent.get("target_run_id") == sent["run_id"]:
        sent["target_run_id"] = RUN_ID
    assert data.items() <= sent.items()
    await side.answer(request, reply)
    state, end = await side.results(seq_id)
    assert request.data["run_id"] == end["run_id"]
    assert result is None or state["data"]["value"] == result


async def test_the_version_is_asked_without_a_run(side):
    seq_id, request = await call(side, "get_langbot_version")
    assert request.data == {}
    await side.answer(request, {"version": "1", "api_features": ["x"]})
    state, _ = await side.results(seq_id)
    assert "api_features=['x']" in state["data"]["value"]


async def test_a_refusal_reaches_the_runner_with_its_fields(side):
    seq_id, request = await call(side, "state_get", "k")
    await side.refuse(request, "permission_denied", retryable=True)
    (failed,) = await side.results(seq_id)
    assert failed["data"] == {
        "code": "permission_denied",
        "error": "permission_denied",
        "retryable": True,
    }


@pytest.mark.parametrize(
    ("name", "args", "reply"),
    [
        ("count_tokens", ["m1", MESSAGES], {}),
        ("invoke_llm", ["m1", MESSAGES], {"message": {"content": 5}}),
        ("state_list", [], {"keys": None}),
        ("history_page", [], {"items": [{}]}),
        ("history_search", ["x"], {"items": []}),
        ("event_get", ["e"], {}),
        ("run_list", [], {"items": [{}]}),
        ("storage_get", ["k"], {"value_base64": 5}),
        ("storage_keys", [], {}),
        ("artifact_read", ["f"], {"artifact_id": "f", "content_base64": "x"}),
        ("run_get", [], {"run_id": "r"}),
        ("invoke_embedding", ["m", ["a"]], {"vectors": [["x"]]}),
        ("invoke_rerank", ["m", "q", ["a"]], {"results": [{"index": 0}]}),
        ("get_tool_detail", ["t"], {"tool": {}}),
        ("call_tool", ["t"], {}),
        ("retrieve_knowledge", ["kb", "q"], {"results": {}}),
        ("call_platform_api", ["b", "a"], {}),
        ("steering_pull", [], {"items": [{}]}),
        ("list_boxes", [], {"items": [{"id": "b"}]}),
    ],
)
async def test_a_malformed_answer_is_a_typed_error(side, name, args, reply):
    seq_id, request = await call(side, name, *args)
    await side.answer(request, reply)
    (failed,) = await side.results(seq_id)
    assert failed["data"]["code"] == "host.malformed_response"


async def test_answers_may_come_in_any_order(side):
    calls = [await call(side, "state_get", f"k{number}") for number in range(5)]
    for _, request in reversed(calls):
        await side.answer(request, {"value": request.data["key"]})
    values: dict[int, str] = {}
    while len(values) < 5:
        frame = await side.receive()
        if frame.data.get("type") == "state.updated":
            values[frame.seq_id] = frame.data["data"]["value"]
    assert values == {seq_id: repr(request.data["key"]) for seq_id, request in calls}


class NoCaller:
    """Fails the test when anything is sent."""

    async def call(self, action, data, seconds):
        pytest.fail(f"{action} was sent")

    async def stream(self, action, data, seconds):
        await self.call(action, data, seconds)
        yield {}


async def test_stored_bytes_are_sent_as_base64():
    sent: dict[str, Any] = {}

    class Recorder(NoCaller):
        async def call(self, action, data, seconds):
            sent.update(data, action=action)
            return {}

    await HostApi("r", Recorder()).storage_set("k", b"\xff", "workspace")
    assert (sent["action"], sent["value_base64"]) == ("set_workspace_storage", "/w==")


class Answering(NoCaller):
    """Keeps what is sent and gives the next answer, an exception by raising it."""

    def __init__(self, *answers):
        self.sent: list[dict[str, Any]] = []
        self.answers = list(answers)

    async def call(self, action, data, seconds):
        self.sent.append({"action": str(action), **data})
        answer = self.answers.pop(0) if self.answers else {"result": {}}
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_result_is_appended_as_the_wire_has_it():
    event = {"run_id": "r2", "sequence": 4, "type": "processor.log"}
    host = Answering(event)
    added = await HostApi("r", host).run_append_result(results.log("hi"), "r2")
    assert (added.sequence, added.type) == (4, "processor.log")
    (sent,) = host.sent
    assert sent["target_run_id"] == "r2"
    assert sent["result"] == {
        "run_id": "r2",
        "type": "processor.log",
        "data": {"text": "hi", "level": "info"},
        "usage": None,
    }


async def test_a_growing_reply_is_sent_whole_and_finished_once():
    host = Answering()
    async with HostApi("r", host).reply_stream() as reply:
        await reply.update("a")
        await reply.update("ab")
    assert [(item["operation"], item["text"]) for item in host.sent] == [
        ("update", "a"),
        ("update", "ab"),
        ("finish", "ab"),
    ]
    assert len({item["stream_id"] for item in host.sent}) == 1
    with pytest.raises(ValueError, match="ended"):
        await reply.update("abc")


async def test_a_reply_that_breaks_off_is_aborted_and_tells_its_reason():
    host = Answering({"result": {}}, HostCallError("unavailable", "gone"))
    with pytest.raises(LookupError):  # not the abort's own failure
        async with HostApi("r", host).reply_stream() as reply:
            await reply.update("a")
            raise LookupError
    assert host.sent[-1]["operation"] == "abort"


async def test_a_reply_over_its_limit_is_not_sent():
    host = Answering()
    with pytest.raises(ValueError, match="200000"):
        async with HostApi("r", host).reply_stream() as reply:
            await reply.update("a" * 200_001)
    assert [item["operation"] for item in host.sent] == ["abort"]


async def test_steering_is_read_as_what_people_wrote():
    item = {
        "claimed_run_id": "r",
        "event": {"event_id": "e", "event_type": "message.received", "source": "t"},
        "input": {"text": "", "contents": [{"type": "text", "text": "stop that"}]},
    }
    (added,) = await HostApi("r", Answering({"items": [item]})).steering_pull()
    assert added.text == "stop that"


async def test_a_tool_can_be_told_to_a_model():
    tool = {"name": "t", "description": "finds", "parameters": None}
    detail = await HostApi("r", Answering({"tool": tool})).get_tool_detail("t")
    assert detail.as_function() == {
        "name": "t",
        "human_desc": "finds",
        "description": "finds",
        "parameters": {"type": "object", "properties": {}},
    }


async def test_a_passage_of_knowledge_has_its_text():
    hit = {"id": "1", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}
    host = Answering({"results": [hit]})
    (found,) = await HostApi("r", host).retrieve_knowledge("kb", "q", top_k=1)
    assert found.text == "a"


async def test_a_file_is_read_part_by_part():
    parts = {0: ("YQ==", True), 1: ("Yg==", False)}

    class Reader(NoCaller):
        async def call(self, action, data, seconds):
            content, has_more = parts[data["offset"]]
            return {
                "artifact_id": "f",
                "content_base64": content,
                "has_more": has_more,
            }

    api = HostApi("r", Reader())
    assert [part async for part in api.artifact_chunks("f")] == [b"a", b"b"]


async def start_stream(side, **config):
    seq_id = await side.start("streamer", config=config)
    request = await side.receive()
    assert request.action == "invoke_llm_stream"
    return seq_id, request


def chunk(text):
    return {"chunk": {"role": "assistant", "content": text}}


async def test_a_stream_is_read_to_its_end(side):
    seq_id, request = await start_stream(side)
    for text in ("a", "b", "c"):
        await side.answer(request, chunk(text))
    await side.answer(request, {"usage": {"total_tokens": 1}})
    await side.socket.send(build_end(request.seq_id), text=True)
    found = await side.results(seq_id)
    texts = [item["data"]["chunk"]["content"] for item in found[:-1]]
    assert texts == ["a", "b", "c", ""]


async def test_an_error_ends_a_stream(side):
    seq_id, request = await start_stream(side)
    await side.answer(request, chunk("a"))
    await side.refuse(request, "model.error")
    found = await side.results(seq_id)
    assert "HostCallError: model.error" in found[-1]["data"]["error"]


async def test_leaving_a_stream_early_stops_the_model(side):
    seq_id, request = await start_stream(side, stop_after=1)
    await side.answer(request, chunk("a"))
    frames = [await side.receive() for _ in range(4)]
    (cancel,) = [frame for frame in frames if isinstance(frame, Request)]
    assert cancel.action == "__cancel_action"
    assert cancel.data == {"seq_id": request.seq_id}
    assert {f.seq_id for f in frames if f is not cancel} == {seq_id}


async def test_cancelling_a_run_stops_its_model(side):
    seq_id, request = await start_stream(side)
    await side.answer(request, chunk("a"))
    await side.receive()
    await side.request("__cancel_action", {"seq_id": seq_id})
    frames = [await side.receive(), await side.receive()]
    (cancel,) = [frame for frame in frames if isinstance(frame, Request)]
    assert cancel.data == {"seq_id": request.seq_id}


async def test_a_lost_connection_fails_the_call(side):
    sample_runners.ended = asyncio.Queue()
    await call(side, "state_get", "k")
    await side.socket.close()
    assert await asyncio.wait_for(sample_runners.ended.get(), 5) == "runtime_error"


async def test_no_call_is_made_after_the_deadline():
    api = HostApi("r", NoCaller(), deadline_at=1.0)
    with pytest.raises(HostCallError) as caught:
        await api.state_get("k")
    assert caught.value.code == "deadline_exceeded"
    with pytest.raises(HostCallError):
        [part async for part in api.invoke_llm_stream("m", [])]
