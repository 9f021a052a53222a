import asyncio
import time

import pytest

from agents.resources import openai_provider
from agents.resources.llm import LlmRequest, ModelError, stream
from tests.agents.resources.chat_server import chat_server, delta

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


async def collect(spec, request):
    return [item async for item in stream(spec, request)]


async def test_chunks_are_increments_and_usage_is_last(make_spec, hello):
    events = [
        delta(role="assistant", content=""),
        delta(content="Hel"),
        delta(content="lo"),
        delta("stop"),
        {"id": "cmpl-1", "choices": [], "usage": USAGE},
    ]
    async with chat_server(lambda e: e.stream(*events)) as server:
        items = await collect(make_spec(server.url), hello)
    assert [item["chunk"]["content"] for item in items[:-1]] == ["Hel", "lo", None]
    assert [item["chunk"]["is_final"] for item in items[:-1]] == [False, False, True]
    assert items[-1] == {"usage": USAGE}
    body = server.exchanges[0].body
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert items[0]["chunk"] == {
        "role": "assistant",
        "name": None,
        "content": "Hel",
        "all_content": None,
        "tool_calls": None,
        "tool_call_id": None,
        "resp_message_id": "cmpl-1",
        "is_final": False,
        "msg_sequence": 0,
        "provider_specific_fields": None,
    }


def call(index, arguments=None, **fields):
    function = {"arguments": arguments, **fields.pop("function", {})}
    return {"index": index, "function": function, **fields}


def joined(items):
    calls: dict[str, list[str]] = {}
    for item in items:
        for part in item.get("chunk", {}).get("tool_calls") or []:
            name, arguments = part["function"]["name"], part["function"]["arguments"]
            entry = calls.setdefault(part["id"], [name, ""])
            assert entry[0] == name
            entry[1] += arguments
    return calls


async def test_tool_call_parts_carry_the_id_of_their_call(make_spec, hello):
    events = [
        delta(tool_calls=[call(0, "", id="a", function={"name": "one"})]),
        delta(tool_calls=[call(0, '{"x"')]),
        delta(tool_calls=[call(1, "", id="b", function={"name": "two"})]),
        delta(tool_calls=[call(0, ":1}"), call(1, "{}")]),
        delta("tool_calls"),
    ]
    async with chat_server(lambda e: e.stream(*events)) as server:
        items = await collect(make_spec(server.url), hello)
    assert joined(items) == {"a": ["one", '{"x":1}'], "b": ["two", "{}"]}


async def test_parallel_calls_all_numbered_zero_stay_apart(make_spec, hello):
    events = [
        delta(tool_calls=[call(0, '{"x":1}', id="a", function={"name": "one"})]),
        delta(tool_calls=[call(0, '{"y":2}', id="b", function={"name": "one"})]),
        delta("tool_calls"),
    ]
    async with chat_server(lambda e: e.stream(*events)) as server:
        items = await collect(make_spec(server.url), hello)
    assert joined(items) == {"a": ["one", '{"x":1}'], "b": ["one", '{"y":2}']}


async def test_calls_without_an_id_get_one(make_spec, hello):
    events = [
        delta(tool_calls=[call(0, {"x": 1}, function={"name": "one"})]),
        delta("tool_calls"),
    ]
    async with chat_server(lambda e: e.stream(*events)) as server:
        items = await collect(make_spec(server.url), hello)
    (call_id,) = joined(items)
    assert call_id.startswith("call_")
    assert joined(items)[call_id] == ["one", '{"x": 1}']


async def test_thinking_tags_split_over_chunks_are_removed(make_spec):
    pieces = ["<th", "ink>let me", " see</thi", "nk>\n\nYes", " <think>no"]
    events = [delta(content=piece) for piece in pieces]
    events[1]["choices"][0]["delta"]["reasoning_content"] = "hidden"
    request = LlmRequest(messages=[{"role": "user", "content": "?"}], remove_think=True)
    async with chat_server(lambda e: e.stream(*events, delta("stop"))) as server:
        items = await collect(make_spec(server.url), request)
    texts = [item["chunk"]["content"] or "" for item in items[:-1]]
    assert "".join(texts) == "Yes <think>no"
    assert "hidden" not in str(items)


async def test_reasoning_is_kept_apart_from_the_text(make_spec, hello):
    events = [
        delta(reasoning="hm"),
        delta(reasoning_details=[{"type": "reasoning.encrypted", "text": "x"}]),
        delta(reasoning_details="malformed"),
        delta("stop", content="Yes"),
    ]
    async with chat_server(lambda e: e.stream(*events)) as server:
        first, last, _ = await collect(make_spec(server.url), hello)
    assert first["chunk"]["content"] is None
    fields = first["chunk"]["provider_specific_fields"]
    assert fields == {"reasoning_content": "hm"}
    assert last["chunk"]["content"] == "Yes"


async def test_first_chunk_arrives_before_the_answer_is_done(make_spec, hello):
    released = asyncio.Event()

    async def script(exchange):
        exchange.open_stream()
        await exchange.event(delta(content="first"))
        await released.wait()
        await exchange.event(delta("stop"))
        await exchange.end_stream()

    async with chat_server(script) as server:
        chunks = stream(make_spec(server.url), hello)
        item = await anext(chunks)
        assert item["chunk"]["content"] == "first"
        released.set()
        assert len([item async for item in chunks]) == 2


async def endless(exchange):
    exchange.open_stream()
    await exchange.event(delta(content="first"))
    assert await exchange.peer_left()


async def test_closing_the_iterator_closes_the_upstream_response(make_spec, hello):
    async with chat_server(endless) as server:
        for _ in range(20):
            server.finished.clear()
            chunks = stream(make_spec(server.url), hello)
            await anext(chunks)
            await chunks.aclose()
            await asyncio.wait_for(server.finished.wait(), 5)
            assert server.failure is None


async def test_cancelling_the_task_closes_the_upstream_response(make_spec, hello):
    async with chat_server(endless) as server:
        for _ in range(20):
            server.finished.clear()
            received = asyncio.Event()

            async def consume(received=received):
                async for _ in stream(make_spec(server.url), hello):
                    received.set()

            task = asyncio.create_task(consume())
            await asyncio.wait_for(received.wait(), 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(server.finished.wait(), 5)
            assert server.failure is None


async def test_cancelling_before_the_answer_begins_disconnects(make_spec, hello):
    async def silent(exchange):
        assert await exchange.peer_left()

    async with chat_server(silent) as server:
        task = asyncio.ensure_future(anext(stream(make_spec(server.url), hello)))
        while not server.exchanges:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.finished.wait(), 5)
    assert server.failure is None


async def test_a_gap_between_chunks_is_a_timeout(make_spec, hello, monkeypatch):
    monkeypatch.setattr(openai_provider, "GAP_SECONDS", 0.2)

    async def script(exchange):
        exchange.open_stream()
        await exchange.event(delta(content="first"))
        for _ in range(20):  # comments keep the connection alive, not the answer
            await exchange.raw(": keep-alive\n\n")
            await asyncio.sleep(0.05)

    async with chat_server(script) as server:
        chunks = stream(make_spec(server.url), hello)
        await anext(chunks)
        started = time.monotonic()
        with pytest.raises(ModelError) as caught:
            await anext(chunks)
        assert time.monotonic() - started < 0.8
        await asyncio.wait_for(server.finished.wait(), 5)
    assert caught.value.code == "model.timeout"
    assert "0.2 s" in caught.value.message


async def test_slow_chunks_within_the_gap_are_fine(make_spec, hello, monkeypatch):
    monkeypatch.setattr(openai_provider, "GAP_SECONDS", 0.5)

    async def script(exchange):
        exchange.open_stream()
        for _ in range(8):
            await exchange.event(delta(content="."))
            await asyncio.sleep(0.1)
        await exchange.event(delta("stop"))
        await exchange.end_stream()

    async with chat_server(script) as server:
        items = await collect(make_spec(server.url), hello)
    assert len(items) == 10


async def test_the_request_bounds_the_whole_stream(make_spec):
    async def script(exchange):
        exchange.open_stream()
        while True:
            await exchange.event(delta(content="."))
            await asyncio.sleep(0.05)

    request = LlmRequest(messages=[{"role": "user", "content": "?"}], timeout=0.5)
    async with chat_server(script) as server:
        started = time.monotonic()
        with pytest.raises(ModelError) as caught:
            await collect(make_spec(server.url), request)
    assert caught.value.code == "model.timeout"
    assert 0.4 < time.monotonic() - started < 2


async def test_a_stream_that_just_stops_is_an_error(make_spec, hello):
    async with chat_server(lambda e: e.stream(delta(content="half"))) as server:
        with pytest.raises(ModelError) as caught:
            await collect(make_spec(server.url), hello)
    assert caught.value.code == "model.unavailable"
    assert caught.value.retryable is True


async def test_a_lost_connection_is_an_error(make_spec, hello):
    async def script(exchange):
        exchange.open_stream()
        await exchange.event(delta(content="half"))

    async with chat_server(script) as server:
        with pytest.raises(ModelError) as caught:
            await collect(make_spec(server.url), hello)
    assert caught.value.code == "model.unavailable"


async def test_an_error_event_ends_the_stream(make_spec, hello):
    broken = {"error": {"message": "out of memory", "type": "server_error"}}
    async with chat_server(lambda e: e.stream(delta(content="a"), broken)) as server:
        with pytest.raises(ModelError, match="out of memory") as caught:
            await collect(make_spec(server.url), hello)
    assert caught.value.code == "model.unavailable"


async def test_servers_without_stream_options_are_asked_again(make_spec, hello):
    async def script(exchange):
        if "stream_options" in exchange.body:
            text = "Unrecognized request argument supplied: stream_options"
            await exchange.send(400, {"error": {"message": text}})
        else:
            await exchange.stream(delta("stop", content="Hello"))

    async with chat_server(script) as server:
        *_, last = await collect(make_spec(server.url), hello)
    assert last["usage"]["estimated"] is True
    assert len(server.exchanges) == 2
