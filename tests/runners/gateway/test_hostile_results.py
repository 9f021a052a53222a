"""Results and host calls that a run's plugin may not send, and what becomes of them."""

import asyncio
from typing import Any

import pytest

from tests.support.host import aside
from tests.support.plugin_socket import HostCallError
from tests.support.raw_runs import (
    assert_serves,
    begin_run,
    connected,
    ended,
    said,
    warnings,
)

COMPLETED = ("completed", "")
STARTED = {"tool_call_id": "c", "tool_name": "t"}
# Results that are dropped, each with a warning of this code.
BAD_RESULTS: list[tuple[str, Any, Any]] = [
    ("runner.protocol_error", None, {}),
    ("runner.protocol_error", "", {}),
    ("runner.protocol_error", 7, {}),
    ("runner.protocol_error", ["run.completed"], {}),
    ("runner.protocol_error", {"a": 1}, {}),
    ("unknown_result_type", "vendor.custom", {"a": [1, 2]}),
    ("unknown_result_type", "x" * 10_000, None),
    ("unknown_result_type", "run.started", {}),
    ("unknown_result_type", "warning", {"code": "forged"}),
    ("invalid_result", "message.delta", None),
    ("invalid_result", "message.delta", []),
    ("invalid_result", "message.delta", {}),
    ("invalid_result", "message.delta", {"chunk": "text"}),
    ("invalid_result", "message.delta", {"chunk": {"role": "assistant"}, "more": 1}),
    ("invalid_result", "message.completed", {"message": {"role": 7}}),
    ("invalid_result", "state.updated", {"scope": "galaxy", "key": "k", "value": 1}),
    ("invalid_result", "state.updated", {"scope": "actor", "key": "", "value": 1}),
    ("state_refused", "state.updated", {"scope": "runner", "key": "k", "value": 1}),
    (
        "state_refused",
        "state.updated",
        {"scope": "actor", "key": "k", "value": "x" * 300_000},
    ),
    ("invalid_result", "processor.log", {"text": "a", "level": "loud"}),
    ("invalid_result", "artifact.created", {"artifact_type": "f", "size": -1}),
    ("invalid_result", "run.completed", {"message": "text"}),
    ("too_large", "tool.call.started", {**STARTED, "parameters": "x" * 1_100_000}),
]
# Sequence numbers that are none; the result itself counts.
BAD_SEQUENCES: list[Any] = [None, "1", 0, -1, 1.5, True, [], 2**31, 2**63, 10**40]
BAD_USAGES: list[Any] = [None, 7, "many", [], {"total_tokens": 10**40}, {"a": None}]


async def test_bad_results_are_warnings_and_the_run_goes_on(host):
    async with connected(host, "bad-results") as plugin:
        run_id, request = await begin_run(host, plugin)
        for sequence, (_, kind, data) in enumerate(BAD_RESULTS, 1):
            if kind == "run.completed":
                continue  # ends the run, valid or not
            await plugin.result(request, kind, data, sequence=sequence)
        await plugin.complete(request, "done", sequence=len(BAD_RESULTS) + 1)
        assert await ended(host, run_id) == COMPLETED
        expected = [code for code, kind, _ in BAD_RESULTS if kind != "run.completed"]
        gap = expected.index("too_large")
        assert await warnings(host, run_id) == [
            *expected[:gap],
            "sequence_gap",
            *expected[gap:],
        ]
        assert await aside(host.reply, run_id) == "done"


async def test_unknown_result_type_is_kept_as_a_warning(host):
    async with connected(host, "unknown-type") as plugin:
        run_id, request = await begin_run(host, plugin)
        await plugin.result(request, "vendor.custom", {"a": [1, {"b": None}]})
        await plugin.complete(request, "done", sequence=2)
        await ended(host, run_id)
        (warning,) = await aside(host.events, run_id, "warning")
        assert warning["data"]["code"] == "unknown_result_type"
        assert warning["data"]["result_type"] == "vendor.custom"
        assert warning["data"]["data"] == {"a": [1, {"b": None}]}


async def test_an_invalid_end_still_ends_the_run(host):
    async with connected(host, "bad-end") as plugin:
        run_id, request = await begin_run(host, plugin)
        await plugin.delta(request, "so far")
        await plugin.result(request, "run.completed", {"message": 7}, sequence=2)
        assert await ended(host, run_id) == COMPLETED
        assert await warnings(host, run_id) == ["invalid_result"]
        assert await aside(host.reply, run_id) == "so far"


async def test_results_of_a_sequence_seen_before_are_applied_once(host):
    async with connected(host, "repeats") as plugin:
        run_id, request = await begin_run(host, plugin)
        text = ""
        for sequence in range(1, 21):
            text += f"{sequence} "
            for _ in range(3):
                await plugin.delta(request, text, sequence=sequence)
        await plugin.delta(request, "from the past", sequence=5)
        for sequence in range(1, 22):
            await plugin.result(
                request,
                "processor.log",
                {"text": "again", "level": "info"},
                sequence=sequence,
            )
        await plugin.complete(request, text, sequence=22)
        assert await ended(host, run_id) == COMPLETED
        assert await said(host, run_id) == text
        assert len(await aside(host.events, run_id, "processor.log")) == 1
        assert len(await aside(host.events, run_id, "message.completed")) == 1
        assert await warnings(host, run_id) == []


async def test_a_gap_is_warned_of_and_applied(host):
    async with connected(host, "gap") as plugin:
        run_id, request = await begin_run(host, plugin)
        await plugin.delta(request, "a", sequence=1)
        await plugin.delta(request, "ab", sequence=7)
        await plugin.complete(request, "ab", sequence=8)
        assert await ended(host, run_id) == COMPLETED
        (warning,) = await aside(host.events, run_id, "warning")
        assert warning["data"]["code"] == "sequence_gap"
        assert "1 was followed by 7" in warning["data"]["detail"]
        assert await said(host, run_id) == "ab"


async def test_numbers_that_are_no_sequence_are_warned_of(host):
    async with connected(host, "bad-sequences") as plugin:
        run_id, request = await begin_run(host, plugin)
        text = ""
        for number in BAD_SEQUENCES:
            text += f"{number!r} "
            await plugin.delta(request, text, sequence=number)
        await plugin.complete(request, text, sequence=1)
        assert await ended(host, run_id) == COMPLETED
        assert await warnings(host, run_id) == ["bad_sequence"] * len(BAD_SEQUENCES)
        assert await said(host, run_id) == text


async def test_the_highest_sequence_leaves_nothing_above_it(host):
    async with connected(host, "highest") as plugin:
        run_id, request = await begin_run(host, plugin)
        await plugin.delta(request, "a", sequence=2**31 - 1)
        await plugin.complete(request, "b", sequence=2**31 - 2)
        assert await ended(host, run_id) == COMPLETED
        assert await warnings(host, run_id) == ["sequence_gap"]
        assert await aside(host.reply, run_id) == "a"


@pytest.mark.parametrize("usage", BAD_USAGES, ids=repr)
async def test_odd_usage_harms_nothing(host, usage):
    async with connected(host, "usage") as plugin:
        run_id, request = await begin_run(host, plugin)
        message = {"role": "assistant", "content": "done"}
        body = {"run_id": run_id, "type": "run.completed", "sequence": 1}
        body |= {"data": {"message": message}, "usage": usage}
        await plugin.reply(request, body)
        assert await ended(host, run_id) == COMPLETED


async def test_long_texts_of_a_failure_are_cut(host):
    async with connected(host, "long-failure") as plugin:
        long = "x" * 50_000
        run_id, request = await begin_run(host, plugin)
        await plugin.result(request, "run.failed", {"error": long, "code": long})
        assert await ended(host, run_id) == ("failed", "x" * 100)
        run_id, request = await begin_run(host, plugin)
        error = {"code": long, "message": long, "retryable": True}
        frame = {"seq_id": request["seq_id"], "code": 1, "message": long}
        await plugin.send({**frame, "data": {"error": error}})
        assert await ended(host, run_id) == ("failed", "x" * 100)
        run_id, request = await begin_run(host, plugin)
        body = {"finish_reason": long, "message": {"role": "assistant", "content": "a"}}
        await plugin.result(request, "run.completed", body)
        assert await ended(host, run_id) == COMPLETED
        await assert_serves(host, plugin)


async def test_nul_characters_are_removed(host):
    async with connected(host, "nul") as plugin:
        run_id, request = await begin_run(host, plugin)
        await plugin.delta(request, "a\x00b")
        log = {"text": "c\x00d", "level": "info"}
        await plugin.result(request, "processor.log", log, sequence=2)
        data = {"scope": "actor", "key": "k\x00", "value": {"\x00": "\x00"}}
        await plugin.result(request, "state.updated", data, sequence=3)
        await plugin.complete(request, "a\x00b", sequence=4)
        assert await ended(host, run_id) == COMPLETED
        assert await aside(host.reply, run_id) == "ab"


async def test_nothing_counts_after_the_end(host):
    async with connected(host, "after-end") as plugin:
        run_id, request = await begin_run(host, plugin)
        message = {"message": {"role": "assistant", "content": "the end"}}
        await plugin.result(request, "run.completed", message)
        for sequence in range(2, 52):
            await plugin.delta(request, "more", sequence=sequence)
        failure = {"error": "no", "code": "late"}
        await plugin.result(request, "run.failed", failure, sequence=60)
        await plugin.refuse(request, "no")
        with pytest.raises(HostCallError) as refused:
            await plugin.call("state_get", {"run_id": run_id, "scope": "actor"})
        assert refused.value.code == "run.not_active"
        assert await ended(host, run_id) == COMPLETED
        await assert_serves(host, plugin)
        events = await aside(host.events, run_id)
        assert events[-1]["type"] == "run.completed"
        assert [e["type"] for e in events].count("message.completed") == 1
        assert await warnings(host, run_id) == []


async def test_a_run_belongs_to_the_plugin_that_was_asked(host):
    async with connected(host, "owner") as owner, connected(host, "thief") as thief:
        mine, request = await begin_run(host, owner)
        theirs, other = await begin_run(host, thief)
        # Their own stream, naming the other run; then the other's stream number.
        await thief.delta(other, "forged", run_id=mine)
        await thief.complete(request, "forged")
        for seq_id in range(50):
            await thief.complete({**request, "seq_id": seq_id + 1000}, "forged")
        calls: dict[str, dict[str, Any]] = {
            "state_set": {"scope": "conversation", "key": "k", "value": "forged"},
            "state_get": {"scope": "conversation", "key": "k"},
            "history_page": {"limit": 10},
            "get_prompt": {},
            "run_get": {"target_run_id": mine},
        }
        for action, data in calls.items():
            with pytest.raises(HostCallError) as refused:
                await thief.call(action, {"run_id": mine, **data})
            assert refused.value.code == "run.not_active", action
        assert await owner.call(
            "state_get", {"run_id": mine, **calls["state_get"]}
        ) == {"value": None}
        await owner.complete(request, "mine")
        assert await ended(host, mine) == COMPLETED
        assert await aside(host.reply, mine) == "mine"
        assert await warnings(host, mine) == []
        if request["seq_id"] != other["seq_id"]:
            await thief.complete(other, "theirs", sequence=2)
        await ended(host, theirs)
        assert (await warnings(host, theirs))[0] == "run_id_mismatch"


async def test_a_run_reads_itself_only(host):
    async with connected(host, "curious") as plugin:
        first, request = await begin_run(host, plugin)
        second, other = await begin_run(host, plugin)
        with pytest.raises(HostCallError) as refused:
            await plugin.call("run_get", {"run_id": first, "target_run_id": second})
        assert refused.value.code == "not_found"
        conversation = other["data"]["context"]["conversation"]["conversation_id"]
        page = {"run_id": first, "conversation_id": conversation}
        with pytest.raises(HostCallError) as refused:
            await plugin.call("history_page", page)
        assert refused.value.code == "permission_denied"
        for one, run_id in ((request, first), (other, second)):
            await plugin.complete(one, "done")
            assert await ended(host, run_id) == COMPLETED


async def test_odd_data_of_host_calls_is_refused(host):
    async with connected(host, "odd-calls") as plugin:
        run_id, request = await begin_run(host, plugin)
        odd: list[tuple[str, dict[str, Any]]] = [
            ("state_get", {}),
            ("state_get", {"scope": [], "key": {}}),
            ("state_set", {"scope": "actor", "key": "k" * 300, "value": 1}),
            ("history_page", {"limit": "many"}),
            ("history_page", {"limit": 10, "before_cursor": "x"}),
            ("history_page", {"limit": -1}),
            ("run_get", {"target_run_id": 7}),
        ]
        for action, data in odd:
            with pytest.raises(HostCallError) as refused:
                await plugin.call(action, {"run_id": run_id, **data})
            assert refused.value.code == "invalid_request", (action, data)
        # An infinity is no JSON: the number arrives where a value was expected.
        await plugin.send_text(
            f'{{"seq_id": 1, "action": "state_set", "data": {{"run_id": "{run_id}",'
            '"scope": "actor", "key": "k", "value": 1e999}}'
        )
        huge = {"run_id": run_id, "limit": 10, "before_cursor": str(10**40)}
        await plugin.call("history_page", huge)
        await plugin.complete(request, "done")
        assert await ended(host, run_id) == COMPLETED


async def test_too_many_bad_results_end_the_run_and_stop_the_plugin(host):
    async with connected(host, "too-many") as plugin:
        run_id, request = await begin_run(host, plugin)
        for sequence in range(1, 151):
            await plugin.result(request, "nonsense", {}, sequence=sequence)
        assert await ended(host, run_id) == ("failed", "runner.protocol_error")
        stop = await plugin.next_request("__cancel_action")
        assert stop["data"] == {"seq_id": request["seq_id"]}
        await assert_serves(host, plugin)


async def test_a_silent_run_ends_at_its_deadline(host):
    async with connected(host, "silent", timeout=1) as plugin:
        run_id, request = await begin_run(host, plugin)
        serving = asyncio.create_task(assert_serves(host))
        assert await ended(host, run_id) == ("timeout", "runner.timeout")
        stop = await plugin.next_request("__cancel_action")
        assert stop["data"] == {"seq_id": request["seq_id"]}
        await plugin.complete(request, "too late")
        await serving
        events = await aside(host.events, run_id)
        assert [one["type"] for one in events][-1] == "run.failed"
