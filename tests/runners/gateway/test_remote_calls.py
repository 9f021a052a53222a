"""What the holder of a remotely held run may call within it, over its own socket."""

import asyncio
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from tests.support.host import aside
from tests.support.plugin_socket import HostCallError
from tests.support.raw_runs import ended
from tests.support.remote_rows import expire_lease
from tests.support.remote_runtime import remote_runtime


@asynccontextmanager
async def holder(host, **config):
    """Yield a runtime and a run of its own runner that it has claimed."""
    name = f"far-{uuid4().hex[:8]}"
    async with remote_runtime(host, name) as runtime:
        runner = f"plugin:raw/{name}/default"
        await aside(host.make_agent, name, runner, {"timeout": 60, **config})
        run_id = await aside(send, host, name)
        yield runtime, run_id


def send(host, name):
    """Send the agent a message that waits for a runtime; returns the run's id."""
    conversation = host.api("POST", "conversations/", json={})["id"]
    body = {"text": "hello there", "agent": name, "metadata": {"queue_name": name}}
    path = f"conversations/{conversation}/messages/"
    return str(host.api("POST", path, json=body)["run_id"])


async def within(runtime, run_id, action, **data):
    return await runtime.plugin.call(action, {"run_id": run_id, **data})


async def refused(runtime, run_id, action, **data):
    with pytest.raises(HostCallError) as error:
        await within(runtime, run_id, action, **data)
    return error.value.code


KEY = {"scope": "conversation", "key": "k"}


async def test_a_holder_calls_what_a_carried_run_may(host):
    async with holder(host) as (runtime, run_id):
        assert await refused(runtime, run_id, "state_get", **KEY) == "run.not_active"
        run = await runtime.claim(queue_name=runtime.runtime_id)
        apis = run["metadata"]["langbot"]["context"]["context"]["available_apis"]
        assert apis["state"]
        assert apis["history_page"]

        assert await within(runtime, run_id, "state_set", **KEY, value=[1])
        assert await within(runtime, run_id, "state_get", **KEY) == {"value": [1]}
        page = await within(runtime, run_id, "history_page")
        assert [one["content"] for one in page["items"]] == ["hello there"]
        found = await within(runtime, run_id, "run_get", target_run_id=run_id)
        assert found["run_id"] == run_id
        model = {"llm_model_uuid": str(uuid4()), "messages": []}
        for action in ("count_tokens", "invoke_llm", "invoke_llm_stream"):
            assert await refused(runtime, run_id, action, **model) == (
                "permission_denied"
            )
        assert await refused(runtime, run_id, "state_get") == "invalid_request"
        assert await refused(runtime, run_id, "no_such_call") == "action.not_found"
        await runtime.finish(run_id, "bye")
        assert await refused(runtime, run_id, "state_get", **KEY) == "run.not_active"
    assert await ended(host, run_id) == ("completed", "")


async def test_a_reply_within_it_is_said_once_and_stays_in_its_ledger(host):
    async with holder(host) as (runtime, run_id):
        await runtime.claim(queue_name=runtime.runtime_id)
        data = {"tool_name": "event_reply", "parameters": {"text": "at once"}}
        call = {"run_id": run_id, **data}
        frame = {"seq_id": 9_000_001, "action": "call_tool", "data": call}
        for _again in range(3):
            await runtime.plugin.send(frame)
        async with asyncio.timeout(30):
            while len(runtime.plugin.unmatched) < 3:
                await asyncio.sleep(0.02)
        answers = [one["data"] for one in runtime.plugin.unmatched]
        assert answers == [answers[0]] * 3
        assert answers[0]["result"]["status"] == "recorded"
        chunk = {"role": "assistant", "content": "more"}
        result = {"type": "message.delta", "data": {"chunk": chunk}}
        added = {"target_run_id": run_id, "result": result}
        await within(runtime, run_id, "run_append_result", **added)
        await within(
            runtime, run_id, "run_finalize", target_run_id=run_id, status="completed"
        )
    events = await aside(host.events, run_id, "message.completed")
    assert [one["data"]["text"] for one in events] == ["at once", "more"]
    assert [one["data"].get("delivered", False) for one in events] == [True, False]
    every = await aside(host.events, run_id)
    assert [one["seq"] for one in every] == list(range(1, len(every) + 1))


async def test_nobody_else_calls_within_it(host):
    async with holder(host) as (runtime, run_id), holder(host) as (other, _waiting):
        await runtime.claim(queue_name=runtime.runtime_id)
        theirs = await other.claim(queue_name=other.runtime_id)
        await within(runtime, run_id, "state_set", **KEY, value="mine")
        assert await refused(other, run_id, "state_get", **KEY) == "run.not_active"
        assert await refused(runtime, theirs["run_id"], "state_get", **KEY) == (
            "run.not_active"
        )
        await aside(host.inside, expire_lease, run_id=run_id)
        late = await refused(runtime, run_id, "state_get", **KEY)
        assert late in {"conflict", "run.not_active"}
        again = await within(other, theirs["run_id"], "state_get", **KEY)
        assert again == {"value": None}


async def test_a_lease_that_another_connection_renews_takes_the_calls_along(host):
    async with holder(host) as (runtime, run_id):
        run = await runtime.claim(queue_name=runtime.runtime_id)
        await within(runtime, run_id, "state_set", **KEY, value=7)
        await runtime.plugin.abort()
        await runtime.plugin.open()
        await runtime.plugin.handshake()
        assert await refused(runtime, run_id, "state_get", **KEY) == "run.not_active"
        await runtime.call("run_renew_claim", **runtime.holding(run))
        assert await within(runtime, run_id, "state_get", **KEY) == {"value": 7}
        await runtime.finish(run_id, "bye")
