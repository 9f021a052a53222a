"""run_cancel, run_append_result and run_finalize of a run, over its own socket."""

import pytest

from tests.support.host import aside
from tests.support.plugin_socket import HostCallError
from tests.support.raw_runs import begin_run, connected, ended, said


async def call(plugin, action, run_id, target=None, **data):
    """Return the answer, or the code of its error."""
    named = {"run_id": run_id, "target_run_id": target or run_id, **data}
    try:
        return await plugin.call(action, named)
    except HostCallError as error:
        return error.code


def message(text):
    return {"type": "message.completed", "data": {"message": {"content": text}}}


async def test_an_appended_result_is_part_of_the_reply(host):
    async with connected(host, "appender") as plugin:
        run_id, request = await begin_run(host, plugin)
        await plugin.delta(request, "one", sequence=1)
        added = await call(plugin, "run_append_result", run_id, result=message("first"))
        assert added["type"] == "message.completed"
        await plugin.delta(request, "two", sequence=2)
        odd = await call(plugin, "run_append_result", run_id, result={"type": "x"})
        assert odd["type"] == "warning"
        await plugin.complete(request, "two", sequence=3)
        assert await ended(host, run_id) == ("completed", "")
    events = await aside(host.events, run_id)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[added["sequence"] - 1]["type"] == "message.completed"
    assert await said(host, run_id) == "onetwo"


async def test_a_repeated_call_appends_once(host):
    async with connected(host, "repeater") as plugin:
        run_id, request = await begin_run(host, plugin)
        data = {"run_id": run_id, "target_run_id": run_id, "result": message("once")}
        frame = {"seq_id": 7_000_001, "action": "run_append_result", "data": data}
        for _time in range(2):
            await plugin.send(frame)
        again = await call(plugin, "run_append_result", run_id, result=message("other"))
        assert again["data"]["text"] == "other"
        await plugin.complete(request, "other", sequence=1)
        assert await ended(host, run_id) == ("completed", "")
    completed = await aside(host.events, run_id, "message.completed")
    # Calls that nobody waits for have no order.
    assert sorted(one["data"]["text"] for one in completed) == ["once", "other"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("completed", ""),
        ("failed", "runner.error"),
        ("cancelled", "cancelled"),
        ("timeout", "runner.timeout"),
    ],
)
async def test_a_run_ends_itself_and_hears_of_it(host, status, code):
    async with connected(host, f"ender-{status}") as plugin:
        run_id, request = await begin_run(host, plugin)
        await plugin.delta(request, "that is all", sequence=1)
        run = await call(plugin, "run_finalize", run_id, status=status, reason="done")
        assert (run["status"], run["run_id"]) == (status, run_id)
        # Its stream is stopped after the answer, and says no more.
        cancel = await plugin.next_request("__cancel_action")
        assert cancel["data"]["seq_id"] == request["seq_id"]
        await plugin.delta(request, "more", sequence=2)
        assert await ended(host, run_id) == (status, code)
        again = await call(plugin, "run_finalize", run_id, status=status)
        assert again == "run.not_active"
    assert await said(host, run_id) == "that is all"


async def test_a_run_cancels_itself(host):
    async with connected(host, "canceller") as plugin:
        run_id, _request = await begin_run(host, plugin)
        run = await call(plugin, "run_cancel", run_id, reason="no use")
        assert run["cancel_requested_at"] is not None
        assert await ended(host, run_id) == ("cancelled", "cancelled")


async def test_other_runs_are_neither_ended_nor_added_to(host):
    async with connected(host, "mine") as mine, connected(host, "theirs") as theirs:
        run_id, request = await begin_run(host, mine)
        other_id, other = await begin_run(host, theirs)
        for action, data in (
            ("run_cancel", {}),
            ("run_finalize", {}),
            ("run_append_result", {"result": message("forged")}),
        ):
            answer = await call(mine, action, run_id, target=other_id, **data)
            assert answer == "not_found"
        await mine.complete(request, "mine")
        await theirs.complete(other, "theirs")
        assert await ended(host, other_id) == ("completed", "")
        assert await aside(host.reply, other_id) == "theirs"
