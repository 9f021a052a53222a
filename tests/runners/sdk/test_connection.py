"""The SDK's connection against a real server that plays the host."""

import asyncio
import time

import pytest

from runners.protocol.frames import Request
from runners.protocol.manifest import parse_container
from runners.protocol.results import (
    Message,
    MessageCompleted,
    MessageDelta,
    RunCompleted,
    delta_text,
    parse_result,
)
from runners.sdk import host as sdk_host
from runners.sdk.host import Settings, keep_connected
from runners.sdk.plugin import Plugin
from tests.runners.sdk import sample_runners


@pytest.fixture
async def side(connect_plugin):
    sample_runners.ended = asyncio.Queue()
    return await connect_plugin(*(runner() for runner in sample_runners.ALL))


async def test_a_plugin_registers_with_its_key_and_describes_itself(host, host_key):
    settings = Settings(url=host.url, key=host_key)
    plugin = Plugin([sample_runners.Talker(), sample_runners.Odd()])
    task = asyncio.create_task(keep_connected(plugin, settings))
    side = await host.accepted()
    assert side.key == host_key
    register = await side.receive()
    assert isinstance(register, Request)
    assert register.action == "register_plugin"
    assert register.data["plugin_debug_key"] == host_key
    assert register.data["plugin_container"]["status"] == "mounted"
    # The host may ask before it answers, and answer at once (wire 3).
    assert (await side.ask("initialize_plugin", {})).data == {}
    container = (await side.ask("get_plugin_container")).data
    await side.answer(register, {})
    assert container["status"] == "initialized"
    manifest = parse_container(container)
    assert [runner.id for runner in manifest.runners] == [
        "plugin:acme/sample/default",
        "plugin:acme/sample/odd",
    ]
    task.cancel()


async def test_the_small_requests_are_answered(side):
    assert (await side.ask("__ping")).data == {"alive": True}
    icon = (await side.ask("get_plugin_icon")).data
    assert icon == {"plugin_icon_file_key": "", "mime_type": ""}
    readme = (await side.ask("get_plugin_readme", {"language": "en"})).data
    assert readme["plugin_readme_file_key"] == ""
    assert (await side.ask("__cancel_action", {"seq_id": 5})).data == {
        "cancelled": False
    }
    unknown = await side.ask("make_coffee")
    assert unknown.error().code == "action.not_found"


async def test_bad_frames_do_not_harm_the_connection(side):
    for text in ("{", "[]", "null", '{"seq_id": 1}', '{"seq_id": 2, "code": "x"}', ""):
        await side.socket.send(text)
    await side.socket.send(b"\xff\xfe")
    refused = [await side.receive(), await side.receive()]
    assert [frame.seq_id for frame in refused] == [1, 2]
    assert {frame.error().code for frame in refused} == {"invalid_request"}
    assert (await side.ask("__ping")).data == {"alive": True}


async def test_a_run_streams_numbered_results_and_is_completed(side):
    found = await side.results(await side.start(config={"words": 3}))
    assert [item["sequence"] for item in found] == [1, 2, 3, 4]
    assert found[-1]["type"] == "run.completed"
    assert found[-1]["data"] == {"finish_reason": "stop"}
    text = ""
    for item in found[:-1]:
        data = parse_result(item).data
        assert isinstance(data, MessageDelta)
        text += delta_text(data.chunk, text)
    assert text == "0 1 2 "
    assert len({item["run_id"] for item in found}) == 1


async def test_two_runs_at_once_are_interleaved(side):
    first = await side.start(config={"words": 5, "pause": 0.02})
    second = await side.start(config={"words": 5, "pause": 0.02})
    numbers: dict[int, list[int]] = {first: [], second: []}
    order, ends = [], 0
    while ends < 2:
        frame = await side.receive()
        order.append(frame.seq_id)
        ends += frame.is_end
        if not frame.is_end:
            numbers[frame.seq_id].append(frame.data["sequence"])
    assert numbers == {first: [1, 2, 3, 4, 5, 6], second: [1, 2, 3, 4, 5, 6]}
    assert order != sorted(order)


async def test_an_unknown_runner_fails_its_run(side):
    (failed,) = await side.results(await side.start("nobody"))
    assert failed["type"] == "run.failed"
    assert failed["data"]["code"] == "runner.not_found"


async def test_a_bad_context_fails_its_run(side):
    (failed,) = await side.results(await side.start(runtime=None))
    assert failed["data"]["code"] == "runner.context_invalid"


@pytest.mark.parametrize(
    ("end", "code", "text"),
    [
        ("raise", "runner.exception", "ValueError: it broke"),
        ("own timeout", "runner.exception", "TimeoutError"),
        ("text", "runner.exception", "not str"),
        ("not json", "runner.exception", "cannot be sent"),
        ("twice", "acme.bad", "first"),
    ],
)
async def test_a_run_that_ends_badly_has_one_terminal_result(side, end, code, text):
    found = await side.results(await side.start("odd", config={"end": end}))
    assert [item["sequence"] for item in found] == [1, 2]
    assert found[-1]["type"] == "run.failed"
    assert found[-1]["data"]["code"] == code
    assert text in found[-1]["data"]["error"]
    for item in found:
        parse_result(item)


async def test_what_a_runner_may_yield_is_valid_on_the_wire(side):
    found = await side.results(await side.start("odd", config={"end": "whole"}))
    _, message, end = [parse_result(item) for item in found]
    assert message.data == MessageCompleted(
        message=Message(content="the whole message"), file_ids=["f1"]
    )
    assert end.data == RunCompleted(
        finish_reason="length", message=Message(content="bye")
    )
    assert end.usage == {"total_tokens": 3}


async def test_the_deadline_ends_a_run_as_timeout(side):
    runtime = {"deadline_at": time.time() + 0.2}
    found = await side.results(await side.start("waiter", runtime=runtime))
    assert found[-1]["data"]["code"] == "runner.timeout"
    assert found[-1]["data"]["retryable"] is True
    assert found[-1]["sequence"] == 2
    assert await asyncio.wait_for(sample_runners.ended.get(), 5)


async def test_a_deadline_during_a_host_call_is_the_timeout(side):
    runtime = {"deadline_at": time.time() + 0.2}
    config = {"call": "state_get", "args": ["k"]}
    seq_id = await side.start("caller", runtime=runtime, config=config)
    request = await side.receive()
    assert request.action == "state_get"
    (failed,) = await side.results(seq_id)
    assert failed["data"]["code"] == "runner.timeout"


@pytest.mark.parametrize("name", ["waiter", "stubborn"])
async def test_a_cancelled_run_says_nothing_more(side, name):
    seq_id = await side.start(name)
    first = await side.receive()
    assert first.data["type"] == "message.delta"
    cancelled = await side.ask("__cancel_action", {"seq_id": seq_id})
    assert cancelled.data == {"cancelled": True}
    assert await asyncio.wait_for(sample_runners.ended.get(), 5)
    await side.expect_silence()
    again = await side.ask("__cancel_action", {"seq_id": seq_id})
    assert again.data == {"cancelled": False}


async def test_over_128_runs_the_connection_is_busy(side):
    for _ in range(128):
        await side.start("waiter")
    for _ in range(128):
        assert not (await side.receive()).is_error
    await side.start("waiter")
    busy = await side.receive()
    assert busy.is_error
    assert "busy (max 128" in busy.message
    assert (await side.ask("__ping")).data == {"alive": True}


async def test_a_dropped_connection_cancels_runs_and_comes_back(host, side):
    await side.start("waiter")
    await side.receive()
    await side.socket.close()
    assert await asyncio.wait_for(sample_runners.ended.get(), 5)
    again = await host.accepted()
    await again.handshake()
    found = await again.results(await again.start(config={"words": 1}))
    assert found[-1]["type"] == "run.completed"


async def test_an_aborted_connection_comes_back(host, side):
    side.socket.transport.abort()
    again = await host.accepted()
    await again.handshake()
    assert (await again.ask("__ping")).data == {"alive": True}


async def test_shutdown_reconnects(host, side):
    await side.request("shutdown")
    again = await host.accepted()
    await again.handshake()


async def test_a_refused_registration_is_tried_again(host, host_key):
    plugin = Plugin([sample_runners.Talker()])
    settings = Settings(url=host.url, key=host_key)
    task = asyncio.create_task(keep_connected(plugin, settings))
    for _ in range(3):
        side = await host.accepted()
        await side.refuse(await side.receive(), "permission_denied")
    side = await host.accepted()
    await side.handshake()
    task.cancel()


def test_waits_start_at_none_and_grow_to_three_seconds():
    backoff = sdk_host.Backoff()
    waits = [backoff.next_wait(0.1) for _ in range(10)]
    assert waits[0] == 0
    assert 0.16 <= waits[1] <= 0.24
    assert all(2.4 <= wait <= 3.6 for wait in waits[6:])
    assert backoff.next_wait(60) == 0
    assert backoff.next_wait(0.1) > 0


async def test_a_large_result_passes(side):
    found = await side.results(await side.start("talker-not-there"))
    assert found
    seq_id = await side.start("caller", config={"call": "state_get", "args": ["k"]})
    request = await side.receive()
    await side.answer(request, {"value": "x" * 3_000_000})
    state, _ = await side.results(seq_id)
    assert len(state["data"]["value"]) == 3_000_002


async def test_a_slow_host_makes_the_runner_wait(side):
    """A reader that stops must not make the plugin buffer the whole stream."""
    seq_id = await side.start(config={"words": 100_000})
    await asyncio.sleep(0.5)
    found = await side.results(seq_id)
    assert len(found) == 100_001
    assert [item["sequence"] for item in found[-2:]] == [100_000, 100_001]
