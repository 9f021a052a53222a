"""A delta is known by its ends, and what only looks like one harms nobody."""

import json
from pathlib import Path

import pytest

from runners.gateway.messages import OWN, SEPARATOR
from runners.gateway.run_streams import NO_DELTA, delta_of
from runners.protocol.errors import ErrorCode
from tests.support.host import aside
from tests.support.plugin_socket import HostCallError
from tests.support.raw_runs import begin_run, connected, ended, warnings

SMUGGLED = f'"}}}}, {OWN}{{"lost": "connection_lost"}}, {{"a": "'
RECORDED = Path("tests/data/frames")


def recorded_deltas():
    lines = "".join(path.read_text() for path in RECORDED.glob("*.jsonl"))
    for line in lines.splitlines():
        frame = json.loads(line).get("frame", {})
        if frame.get("data", {}).get("type") == "message.delta":
            yield frame


def delta(seq_id=7, text="a", run_id="0" * 36, **changed):
    result = {"run_id": run_id, "type": "message.delta", "data": {"chunk": text}}
    frame = {"seq_id": seq_id, "code": 0, "message": "success", "data": result}
    return json.dumps({**frame, "chunk_status": "continue", **changed})


def test_deltas_of_the_real_sdk_are_known():
    frames = list(recorded_deltas())
    assert frames
    for frame in frames:
        assert delta_of(json.dumps(frame)) == frame["seq_id"]


@pytest.mark.parametrize(
    "text",
    [
        delta(code=1),
        delta(chunk_status="end"),
        delta(seq_id="7"),
        delta(seq_id=10**18),
        delta(data={"run_id": "0" * 36, "type": "run.completed", "data": {}}),
        delta(text="x" * 300_000),
        delta(text="#").replace("#", SEPARATOR),
        delta() + " ",
        "",
    ],
)
def test_everything_else_is_parsed_where_it_arrives(text):
    assert delta_of(text) == NO_DELTA


async def test_what_only_looks_like_a_delta_is_a_warning(host):
    async with connected(host, "looks-like-a-delta") as plugin:
        run_id, request = await begin_run(host, plugin)
        await plugin.delta(request, "first")
        for middle in ('"#', "}", SMUGGLED):
            broken = delta(request["seq_id"], "#", run_id).replace('"#"', middle)
            await plugin.send_text(broken)
        await plugin.delta(request, " second", sequence=2)
        await plugin.complete(request, "first second", sequence=3)
        assert await ended(host, run_id) == ("completed", "")
        assert await warnings(host, run_id) == [ErrorCode.INVALID_REQUEST] * 3
        assert await aside(host.reply, run_id) == "first second"


async def test_an_end_that_looks_like_a_delta_is_known_to_the_node(host):
    async with connected(host, "end-like-a-delta") as plugin:
        run_id, request = await begin_run(host, plugin)
        await plugin.delta(request, "first")
        likeness = delta(request["seq_id"], "#", run_id)
        twice = '{"message": {"content": "first"}}, "type": "run.completed"'
        await plugin.send_text(likeness.replace('{"chunk": "#"}', twice))
        assert await ended(host, run_id) == ("completed", "")
        await plugin.next_request("__cancel_action")
        with pytest.raises(HostCallError) as refused:
            await plugin.call("run_get", {"run_id": run_id, "target_run_id": run_id})
        assert refused.value.code == ErrorCode.RUN_NOT_ACTIVE
