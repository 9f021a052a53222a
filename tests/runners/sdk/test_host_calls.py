"""Host calls of a run over a real socket."""

import asyncio
from typing import Any

import pytest

from runners.protocol.frames import Request, build_end
from runners.sdk import HostCallError
from runners.sdk.api import HostApi
from tests.runners.sdk import sample_runners


@pytest.fixture
async def side(connect_plugin):
    return await connect_plugin(*(runner() for runner in sample_runners.ALL))


async def call(side, name, *args):
    config = {"call": name, "args": list(args)}
    seq_id = await side.start("caller", config=config)
    request = await side.receive()
    assert isinstance(request, Request)
    return seq_id, request


MESSAGES = [{"role": "user", "content": "hi"}]
MODEL_CALL: dict[str, Any] = {
    "llm_model_uuid": "m1",
    "messages": MESSAGES,
    "funcs": [],
    "extra_args": {},
    "timeout": None,
}


@pytest.mark.parametrize(
    ("name", "args", "data", "reply", "result"),
    [
        ("state_get", ["k"], {"scope": "conversation", "key": "k"}, {"value": 1}, "1"),
        ("state_get", ["k"], {"key": "k"}, {"value": None}, "None"),
        (
            "state_set",
            ["k", [1], "actor"],
            {"scope": "actor", "value": [1]},
            {},
            "None",
        ),
        ("state_delete", ["k"], {"key": "k"}, {"success": False}, "False"),
        (
            "state_list",
            ["runner"],
            {"scope": "runner", "prefix": None, "limit": 100},
            {"keys": ["a"], "has_more": True},
            "(['a'], True)",
        ),
        ("get_prompt", [], {}, {"prompt": MESSAGES}, repr(MESSAGES)),
        ("run_get", ["r2"], {"target_run_id": "r2"}, {"run_id": "r2"}, None),
        ("count_tokens", ["m1", MESSAGES], MODEL_CALL, {"tokens": 7}, "7"),
        (
            "invoke_llm",
            ["m1", MESSAGES],
            MODEL_CALL,
            {"message": {"role": "assistant", "content": "yes"}, "usage": {"a": 1}},
            None,
        ),
        ("history_page", [], {"limit": 50, "direction": "backward"}, {}, None),
        (
            "history_search",
            ["天气"],
            {
                "query": "天气",
                "filters": {"roles": [], "item_types": []},
                "top_k": 10,
            },
            {"items": [], "total_count": 0, "query": "天气"},
            None,
        ),
        (
            "event_get",
            ["e1"],
            {"event_id": "e1"},
            {"event_id": "e1", "event_type": "t", "source": "api"},
            None,
        ),
        ("event_page", [], {"event_types": None, "limit": 50}, {}, None),
        ("run_list", [], {"statuses": None, "conversation_id": None}, {}, None),
        (
            "run_events_page",
            ["r2"],
            {"target_run_id": "r2", "direction": "forward"},
            {"items": [{"run_id": "r2", "sequence": 1, "type": "t"}]},
            None,
        ),
        ("storage_get", ["k"], {"key": "k"}, {"value_base64": "dg=="}, "b'v'"),
        ("storage_delete", ["k", "workspace"], {"key": "k"}, {}, "None"),
        ("storage_keys", [], {}, {"keys": ["a", "b"]}, "['a', 'b']"),
        (
            "artifact_metadata",
            ["f"],
            {"artifact_id": "f"},
            {"artifact_id": "f", "artifact_type": "file", "source": "runner"},
            None,
        ),
        (
            "artifact_read",
            ["f"],
            {"artifact_id": "f", "offset": 0, "limit": None},
            {"artifact_id": "f", "content_base64": "dg=="},
            None,
        ),
        (
            "artifact_read_range",
            ["f", 5],
            {"offset": 5, "length": 65_536},
            {"artifact_id": "f", "content_base64": "dg=="},
            None,
        ),
        ("call", ["vendor_action", {"x": 1}], {"x": 1}, {"y": 2}, "{'y': 2}"),
    ],
)
async def test_a_call_asks_and_returns_as_the_wire_says(
    side, name, args, data, reply, result
):
    seq_id, request = await call(side, name, *args)
    actions = {
        "call": args[:1],
        "storage_get": ["get_plugin_storage"],
        "storage_delete": ["delete_workspace_storage"],
        "storage_keys": ["get_plugin_storage_keys"],
    }
    assert [request.action] == actions.get(name, [name])
    assert data.items() <= request.data.items()
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


async def test_stored_bytes_are_sent_as_base64():
    sent: dict[str, Any] = {}

    class Recorder(NoCaller):
        async def call(self, action, data, seconds):
            sent.update(data, action=action)
            return {}

    await HostApi("r", Recorder()).storage_set("k", b"\xff", "workspace")
    assert (sent["action"], sent["value_base64"]) == ("set_workspace_storage", "/w==")


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


class NoCaller:
    """Fails the test when anything is sent."""

    async def call(self, action, data, seconds):
        pytest.fail(f"{action} was sent")

    async def stream(self, action, data, seconds):
        await self.call(action, data, seconds)
        yield {}


async def test_no_call_is_made_after_the_deadline():
    api = HostApi("r", NoCaller(), deadline_at=1.0)
    with pytest.raises(HostCallError) as caught:
        await api.state_get("k")
    assert caught.value.code == "deadline_exceeded"
    with pytest.raises(HostCallError):
        [part async for part in api.invoke_llm_stream("m", [])]
