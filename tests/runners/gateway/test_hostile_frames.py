"""What a plugin may send that is no proper frame, and what becomes of it."""

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.host import aside
from tests.support.plugin_socket import HostCallError
from tests.support.raw_runs import (
    assert_serves,
    begin_run,
    codes,
    connected,
    ended,
    nested,
    unregistered,
)

INVALID = "invalid_request"
UNKNOWN = "action.not_found"
# What is sent, and the code of the answer to request 7; None: nobody can be answered.
FRAMES = {
    "empty": ("", None),
    "no JSON": ("{", None),
    "a list": ("[]", None),
    "null": ("null", None),
    "a number": ("7", None),
    "NaN": ('{"seq_id": 7, "action": "run_get", "data": {"a": NaN}}', None),
    "too deep": (f'{{"seq_id": 7, "action": "x", "data": {nested(5000)}}}', None),
    "lone surrogate": ('{"seq_id": 7, "action": "\\ud800", "data": {}}', None),
    "text number": ('{"seq_id": "7", "action": "run_get", "data": {}}', None),
    "negative number": ('{"seq_id": -7, "action": "run_get", "data": {}}', None),
    "infinite number": ('{"seq_id": 1e999, "action": "run_get", "data": {}}', None),
    "huge number": (f'{{"seq_id": {10**30}, "action": "x", "data": {{}}}}', None),
    "no number": ('{"action": "run_get", "data": {}}', None),
    "no action": ('{"seq_id": 7, "data": {}}', INVALID),
    "odd action": ('{"seq_id": 7, "action": [], "data": {}}', INVALID),
    "no data": ('{"seq_id": 7, "action": "run_get"}', INVALID),
    "odd data": ('{"seq_id": 7, "action": "run_get", "data": []}', INVALID),
    "odd context": ('{"seq_id":7,"action":"x","data":{},"context":1}', INVALID),
    "odd response": ('{"seq_id": 7, "code": "x", "message": 1, "data": 2}', INVALID),
    "unknown": ('{"seq_id": 7, "action": "no_such_action", "data": {}}', UNKNOWN),
    "no run": ('{"seq_id": 7, "action": "state_get", "data": {}}', UNKNOWN),
    "odd run": ('{"seq_id":7,"action":"x","data":{"run_id":[]}}', "run.not_active"),
    "an answer nobody asked": ('{"seq_id":7,"code":0,"message":"","data":{}}', None),
}
# Data of requests that the web process answers itself.
LOCAL_CALLS: list[tuple[str, dict[str, Any]]] = [
    ("__cancel_action", {"seq_id": []}),
    ("__cancel_action", {"seq_id": {"a": 1}}),
    ("__cancel_action", {}),
    ("__stream_ack", {"seq_id": "x", "index": None}),
    ("__ping", {"unexpected": True}),
    ("get_langbot_version", {"a": [None]}),
]
KEY = "ft1_" + "0" * 64
CHUNK: dict[str, Any] = {
    "file_key": KEY,
    "file_length": 3,
    "chunk_base64": "YWJj",
    "chunk_index": 0,
    "chunk_amount": 1,
    "chunk_size": 3,
}
BAD_CHUNKS: list[dict[str, Any]] = [
    {"file_key": "../../etc/passwd"},
    {"file_key": [KEY]},
    {"chunk_index": 1},
    {"chunk_index": -1},
    {"chunk_index": "0"},
    {"chunk_amount": 10**9},
    {"chunk_base64": "%%%"},
    {"chunk_base64": "文件"},
    {"chunk_base64": "QUFB" * 10_000},
    {"file_length": "three"},
    {"file_length": []},
    {"file_length": 4},
]


async def test_malformed_frames_get_typed_errors_and_harm_nothing(host):
    async with connected(host, "malformed") as plugin:
        for label, (text, code) in FRAMES.items():
            plugin.unmatched.clear()
            await plugin.send_text(text)
            await plugin.call("__ping")
            answered = codes(plugin.unmatched)
            assert answered == ({7: code} if code else {}), label
        await assert_serves(host, plugin)


async def test_binary_frames_are_refused_and_harm_nothing(host):
    async with connected(host, "binary") as plugin:
        for payload in (b"", b"\x00\xff", b'{"seq_id":1,"action":"__ping","data":{}}'):
            await plugin.socket.send(payload)
        assert await plugin.call("__ping") == {"alive": True}
        assert plugin.unmatched == []
        await assert_serves(host, plugin)


async def test_odd_data_of_local_calls_is_answered(host):
    async with connected(host, "local-calls") as plugin:
        for action, data in LOCAL_CALLS:
            await plugin.call(action, data)
        assert await plugin.call("__file_chunk", CHUNK) == {}
        for wrong in BAD_CHUNKS:
            with pytest.raises(HostCallError) as refused:
                await plugin.call("__file_chunk", CHUNK | wrong)
            assert refused.value.code == INVALID, wrong
        await assert_serves(host, plugin)


async def test_files_held_for_a_plugin_are_bounded(host):
    slice_bytes, slices = 16_384, 256  # 4 MiB each, the most that one may have
    content = "A" * (slice_bytes // 3 * 4 // 4 * 4)
    chunk = CHUNK | {"chunk_base64": content, "chunk_amount": slices}
    async with connected(host, "files") as plugin:
        with pytest.raises(HostCallError) as refused:
            for number in range(16):
                key = f"ft1_{number:064x}"
                for index in range(slices - 1):
                    data = chunk | {"file_key": key, "chunk_index": index}
                    data["file_length"] = len(content) * 3 // 4 * slices
                    await plugin.call("__file_chunk", data)
        assert refused.value.code == "too_large"
        await assert_serves(host, plugin)


async def test_any_number_of_complete_files_is_taken(host):
    content = "A" * 16_384
    length = len(content) * 3 // 4
    chunk = CHUNK | {"chunk_base64": content, "file_length": length}
    async with connected(host, "many-files") as plugin:
        for number in range(33 * 1024 * 1024 // length):
            key = f"ft1_{number:064x}"
            assert await plugin.call("__file_chunk", chunk | {"file_key": key}) == {}


async def test_frame_over_16_mib_closes_only_its_own_socket(host):
    async with connected(host, "oversize") as plugin:
        run_id, _ = await begin_run(host, plugin)
        with suppress(ConnectionClosed):
            await plugin.oversize()
        await plugin.socket.wait_closed()
        assert plugin.socket.close_code == 1009
        assert await ended(host, run_id) == ("failed", "connection_lost")
    await assert_serves(host)


async def test_deep_data_of_a_run_ends_at_most_that_run(host):
    async with connected(host, "deep") as plugin, connected(host, "flat") as other:
        for depth in (150, 190, 193, 195, 196, 197, 198, 199, 200, 201, 205):
            run_id, request = await begin_run(host, plugin)
            body = f'{{"run_id":"{run_id}","type":"vendor.deep","sequence":1,"data":'
            await plugin.send_text(
                f'{{"seq_id":{request["seq_id"]},"code":0,"message":"",'
                f'"data":{body}{nested(depth)}}}}}'
            )
            await plugin.complete(request, "done", sequence=2)
            status, code = await ended(host, run_id)
            assert (status, code) in {
                ("completed", ""),
                ("failed", "runner.protocol_error"),
            }
        await assert_serves(host, plugin, other)


async def test_host_calls_of_unknown_actions_are_refused(host):
    async with connected(host, "unknown-action") as plugin:
        run_id, request = await begin_run(host, plugin)
        for action in ("no_such_action", "x" * 100_000, "__proto__", "admin.delete"):
            with pytest.raises(HostCallError) as refused:
                await plugin.call(action, {"run_id": run_id})
            assert refused.value.code == UNKNOWN
        await plugin.complete(request, "done")
        assert await ended(host, run_id) == ("completed", "")


async def test_nothing_is_answered_before_registration(host):
    async with connected(host, "victim") as victim:
        run_id, request = await begin_run(host, victim)
        async with unregistered(host, "impatient") as plugin:
            for action in ("__ping", "get_langbot_version", "run_get", "nonsense"):
                data = {"run_id": run_id, "target_run_id": run_id}
                with pytest.raises(TimeoutError):
                    await plugin.call(action, data, timeout_seconds=0.2)
            await plugin.delta(request, "forged")
            assert plugin.unmatched == []
            await plugin.handshake()
            assert await plugin.call("__ping") == {"alive": True}
        await victim.complete(request, "mine")
        assert await ended(host, run_id) == ("completed", "")
        assert await aside(host.reply, run_id) == "mine"


@pytest.mark.parametrize("text", ["no frame", "[]", '{"seq_id": 1}', "{" * 100_000])
async def test_a_bad_frame_before_registration_closes_the_socket(host, text):
    async with unregistered(host, "stranger") as plugin:
        await plugin.send_text(text)
        async with asyncio.timeout(5):
            await plugin.closed.wait()
        assert plugin.socket.close_code == 4008


async def test_a_plugin_that_sends_garbage_for_ever_is_cut_off(host):
    async with connected(host, "bystander") as bystander:
        async with connected(host, "garbage") as plugin:
            run_id, _ = await begin_run(host, plugin)
            serving = asyncio.create_task(assert_serves(host, bystander))
            sent = 0
            with pytest.raises((ConnectionClosed, ConnectionError)):
                while True:
                    await plugin.garbage(50)
                    sent += 50
                    await asyncio.sleep(0)  # so that the close is read
            await serving
            await plugin.socket.wait_closed()
            assert plugin.socket.close_code == 4008
            # What sockets and queues hold, beyond the thousand that are put up with.
            assert sent < 30_000
            assert await ended(host, run_id) == ("failed", "connection_lost")
        await assert_serves(host, bystander)


async def test_many_unknown_requests_are_all_answered(host):
    count = 3000
    async with connected(host, "busy") as plugin, connected(host, "calm") as calm:
        began = time.monotonic()
        serving = asyncio.create_task(assert_serves(host, calm))
        for number in range(count):
            await plugin.send({"seq_id": number, "action": "nothing", "data": {}})
        async with asyncio.timeout(20):
            while len(plugin.unmatched) < count:
                await asyncio.sleep(0.02)
        await serving
        assert set(codes(plugin.unmatched).values()) == {UNKNOWN}
        assert time.monotonic() - began < 20
        assert json.dumps(plugin.unmatched[-1]).count("Traceback") == 0
