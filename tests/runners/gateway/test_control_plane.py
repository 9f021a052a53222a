"""Remote runtimes on real sockets: they take queued runs, carry and end them."""

import asyncio
from typing import Any

import pytest

from tests.support.host import aside
from tests.support.raw_runs import connected, ended, said, unregistered
from tests.support.remote_runtime import RemoteRuntime, queued, remote_runtime

CONTROL: dict[str, dict[str, Any]] = {
    "run_claim": {"runtime_id": "x"},
    "run_get": {"target_run_id": "x"},
    "run_cancel": {"target_run_id": "x"},
    "run_append_result": {"target_run_id": "x", "result": {}},
    "run_finalize": {"target_run_id": "x"},
    "runtime_register": {"runtime_id": "x"},
    "runtime_list": {},
    "runner_list": {},
    "run_list": {},
    "run_stats": {},
    "runtime_stats": {},
    "runner_stats": {},
}


async def sequences(host, run_id):
    return [event["seq"] for event in await aside(host.events, run_id)]


async def assert_whole(host, run_id):
    """Fail unless the run's ledger has no gap and one end."""
    events = await aside(host.events, run_id)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    ends = [one for one in events if one["type"] in {"run.completed", "run.failed"}]
    assert ends == events[-1:]


async def expire(host, run_id):
    """Let the lease of a run be over, as if its time had passed."""
    from tests.support.remote_rows import expire_lease

    assert await aside(host.inside, expire_lease, run_id=run_id) == 1


async def test_a_runtime_carries_a_queued_run_to_its_end(host):
    async with remote_runtime(host, "carrier") as runtime:
        run_id = await queued(host, "carrier", "over there")
        run = await runtime.claim(queue_name="carrier", lease_seconds=30)
        assert run["run_id"] == run_id
        assert run["claimed_by_runtime_id"] == "carrier"
        assert (run["status"], run["dispatch_attempts"]) == ("claimed", 1)
        assert run["claim_lease_expires_at"] > run["last_claimed_at"]
        start = run["metadata"]["langbot"]
        assert start["context"]["run_id"] == run_id
        assert start["context"]["input"]["text"] == "over there"

        event = await runtime.say(run_id, "Hel")
        assert (event["type"], event["data"]) == ("message.delta", {"text": "Hel"})
        shown = await runtime.call("run_get", target_run_id=run_id)
        assert (shown["status"], shown["claim_token"]) == ("running", None)
        await runtime.say(run_id, "lo")
        last = await runtime.finish(run_id, "Hello")
        assert last["type"] == "run.completed"
    assert await ended(host, run_id) == ("completed", "")
    assert await said(host, run_id) == "Hello"
    assert await aside(host.reply, run_id) == "Hello"
    await assert_whole(host, run_id)


@pytest.mark.parametrize("action", CONTROL)
async def test_only_the_control_plane_may(host, action):
    async with unregistered(host, "ordinary") as plugin:
        await plugin.handshake()
        caller = RemoteRuntime(plugin, "x")
        assert await caller.refused(action, **CONTROL[action]) == "permission_denied"


async def test_a_result_is_written_once_and_bad_ones_are_warnings(host):
    async with remote_runtime(host, "careful") as runtime:
        run_id = await queued(host, "careful")
        await runtime.claim(queue_name="careful")
        first = await runtime.say(run_id, "one", sequence=1)
        assert await runtime.say(run_id, "one", sequence=1) == {**first, "id": ANY}
        odd = await runtime.append(run_id, "message.delta", {"chunk": 7})
        assert (odd["type"], odd["data"]["code"]) == ("warning", "invalid_result")
        new = await runtime.append(run_id, "brand.new", {"a": 1})
        assert new["data"]["code"] == "unknown_result_type"
        huge = {"chunk": {"role": "assistant", "content": "x" * (9 * 1024 * 1024)}}
        result = {"type": "message.delta", "data": huge}
        refusal = await runtime.refused(
            "run_append_result", target_run_id=run_id, result=result
        )
        assert refusal == "too_large"
        ending = await runtime.call(
            "run_finalize", target_run_id=run_id, status="failed", reason="no more"
        )
        assert (ending["status"], ending["status_reason"]) == ("failed", "no more")
        late = {"target_run_id": run_id, "result": {"type": "x", "data": {}}}
        assert await runtime.refused("run_append_result", **late) == "run.not_active"
        assert await runtime.refused("run_finalize", **late) == "run.not_active"
    assert await said(host, run_id) == "one"
    await assert_whole(host, run_id)


class _Any:
    def __eq__(self, _other):
        return True

    def __hash__(self):
        return 0


ANY = _Any()


async def test_two_runtimes_take_each_run_once(host):
    runs = [await queued(host, "shared", f"run {number}") for number in range(24)]
    async with (
        remote_runtime(host, "left") as left,
        remote_runtime(host, "right") as right,
    ):
        takers = [_take_all(one, "shared") for one in (left, right) for _ in range(4)]
        taken = [one for part in await asyncio.gather(*takers) for one in part]
        assert sorted(taken) == sorted(runs)
        for run_id in runs:
            await left.call("run_cancel", target_run_id=run_id, reason="enough")
        assert {(await ended(host, one))[0] for one in runs} == {"cancelled"}


async def _take_all(runtime, queue):
    taken = []
    while run := await runtime.claim(queue_name=queue):
        taken.append(run["run_id"])
    return taken


async def test_the_highest_priority_goes_first(host):
    ordinary = await queued(host, "ranked")
    urgent = await queued(host, "ranked", priority=5)
    async with remote_runtime(host, "ranker") as runtime:
        taken = [await runtime.claim(queue_name="ranked") for _ in range(2)]
        assert [run["run_id"] for run in taken] == [urgent, ordinary]
        assert [run["priority"] for run in taken] == [5, 0]
        assert await runtime.claim(queue_name="ranked") is None
        for run in taken:
            await runtime.finish(run["run_id"], "done")


async def test_a_silent_runtimes_run_goes_on_elsewhere(host):
    async with remote_runtime(host, "silent") as silent:
        run_id = await queued(host, "handed-on")
        old = await silent.claim(queue_name="handed-on")
        await silent.say(run_id, "half of an ans")
        await expire(host, run_id)
        async with remote_runtime(host, "heir") as heir:
            new = None
            while new is None:  # a sweep of the worker makes it queued again
                new = await heir.claim(queue_name="handed-on")
            assert (new["run_id"], new["dispatch_attempts"]) == (run_id, 2)
            late = {"type": "processor.log", "data": {"text": "late"}}
            for claim in ({}, {"claim_token": old["claim_token"]}):
                refused = await silent.refused(
                    "run_append_result", target_run_id=run_id, result=late, **claim
                )
                assert refused == "conflict"
            renewal = {**silent.holding(old), "lease_seconds": 30}
            assert await silent.refused("run_renew_claim", **renewal) == "conflict"
            assert (
                await silent.refused("run_release_claim", **silent.holding(old))
                == "conflict"
            )
            await heir.say(run_id, "the whole ", sequence=1)
            await heir.finish(run_id, "the whole answer")
    assert await ended(host, run_id) == ("completed", "")
    assert await aside(host.reply, run_id) == "the whole answer"
    await assert_whole(host, run_id)


async def test_renewing_releasing_and_expiring_at_once_leave_one_holder(host):
    async with remote_runtime(host, "holder") as holder:
        run_id = await queued(host, "raced")
        for _round in range(10):
            run = await holder.claim(queue_name="raced")
            while run is None:
                run = await holder.claim(queue_name="raced")
            claim = holder.holding(run)
            renewal, release, _ = await asyncio.gather(
                holder.refused("run_renew_claim", **claim, lease_seconds=30),
                holder.refused("run_release_claim", **claim),
                holder.refused("runtime_reconcile", stale_after_seconds=0.001),
            )
            assert renewal in {None, "conflict"}
            assert release in {None, "conflict"}
            assert await holder.refused("run_renew_claim", **claim) == "conflict"
            if await aside(lambda: host.run_of(run_id)["status"]) == "failed":
                break
        await aside(host.cancel, run_id)
        await aside(host.wait_run, run_id)
    await assert_whole(host, run_id)


async def test_a_released_run_is_taken_by_the_hosts_own_worker(host):
    async with connected(host, "home"):
        pass  # now its agent is there, and its runner offline
    run_id = await aside(host.send, "hello", "home")
    async with remote_runtime(host, "visitor") as visitor:
        wanted = {"queue_name": "default", "runner_ids": ["plugin:raw/home/default"]}
        run = await visitor.claim(**wanted)
        await visitor.say(run_id, "I cannot")
        async with connected(host, "home") as plugin:
            released = await visitor.call(
                "run_release_claim", **visitor.holding(run), reason="not mine"
            )
            # Running, where the host's own worker was quicker than this answer.
            assert released["status"] in {"queued", "running"}
            assert released["claim_token"] is None
            request = await plugin.next_run()
            assert request["data"]["context"]["run_id"] == run_id
            assert await visitor.claim(**wanted) is None
            await plugin.complete(request, "at home")
            assert await ended(host, run_id) == ("completed", "")
    assert await aside(host.reply, run_id) == "at home"
    await assert_whole(host, run_id)


async def test_a_run_whose_deadline_passed_ends(host):
    from tests.support.remote_rows import pass_deadline

    async with remote_runtime(host, "slow") as runtime:
        run_id = await queued(host, "slow")
        await runtime.claim(queue_name="slow")
        await runtime.say(run_id, "so far")
        await aside(host.inside, pass_deadline, run_id=run_id)
        assert await ended(host, run_id) == ("timeout", "runner.timeout")
    await assert_whole(host, run_id)


async def test_runtimes_are_listed_and_counted(host):
    async with remote_runtime(host, "listed") as runtime:
        told = await runtime.register(
            display_name="GPU 1", labels={"zone": "a"}, capabilities={"gpu": True}
        )
        assert (told["status"], told["display_name"]) == ("online", "GPU 1")
        beat = await runtime.call("runtime_heartbeat", runtime_id="listed")
        assert beat["labels"] == {"zone": "a"}
        page = await runtime.call("runtime_list", labels={"zone": "a"})
        assert [one["runtime_id"] for one in page["items"]] == ["listed"]
        assert (await runtime.call("runtime_list", labels={"zone": "b"}))["items"] == []
        stale = await runtime.call("runtime_list", statuses=["stale"])
        assert "listed" not in [one["runtime_id"] for one in stale["items"]]
        assert (await runtime.call("runtime_stats"))["online_count"] >= 1
        unknown = await runtime.refused("runtime_heartbeat", runtime_id="nobody")
        assert unknown == "not_found"
        odd = await runtime.refused("runtime_register", runtime_id="")
        assert odd == "invalid_request"


async def test_the_control_plane_reads_runs_and_runners(host):
    async with remote_runtime(host, "reader") as runtime:
        run_id = await queued(host, "read")
        await runtime.claim(queue_name="read")
        await runtime.finish(run_id, "done")
        page = await runtime.call("run_list", statuses=["completed"])
        assert run_id in [run["run_id"] for run in page["items"]]
        events = await runtime.call("run_events_page", target_run_id=run_id)
        assert [one["sequence"] for one in events["items"]] == await sequences(
            host, run_id
        )
        runners = (await runtime.call("runner_list"))["items"]
        assert "plugin:langbot/echo/default" in [one["id"] for one in runners]
        stats = await runtime.call("run_stats")
        assert stats["completed_count"] >= 1
        assert stats["p50_duration_seconds"] >= 0
        rows = (await runtime.call("runner_stats"))["items"]
        assert {row["runner_id"] for row in rows} >= {"plugin:langbot/echo/default"}
        assert await runtime.refused("run_get", target_run_id="nobody") == "not_found"
    async with remote_runtime(host, "abroad", workspace="abroad") as stranger:
        refused = await stranger.refused("run_get", target_run_id=run_id)
        assert refused == "not_found"
        assert (await stranger.call("run_list"))["items"] == []
        assert await stranger.claim() is None
