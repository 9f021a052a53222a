"""Host calls for runs that are not the caller's, through a real socket.

The table is that of `tests/runners/host_api/test_authorization.py`, which asks the
other door: the worker.
"""

import asyncio
import random
from uuid import uuid4

from tests.support.call_table import CALLS, fill, said, too_large
from tests.support.call_worlds import MARK, furnish_by_id, start_run
from tests.support.host import aside
from tests.support.host_rows import make_plugin_token, refusals_of
from tests.support.plugin_manifests import runner_component
from tests.support.plugin_socket import HostCallError
from tests.support.raw_plugin import RawPlugin
from tests.support.raw_runs import (
    assert_serves,
    begin_run,
    connected,
    ended,
)

NAMES = ("conversation", "event", "artifact", "run", "base")
# Those end a run, and so the swaps with it.
ENDING = {"run_cancel", "run_finalize"}
IDS = dict.fromkeys((*NAMES, "model", "rerank", "embedding"), "x")


async def code_of(plugin, action, data):
    """Return the code of the answer, or `ok`."""
    try:
        await plugin.call(action, data)
    except HostCallError as refused:
        return str(refused.code)
    return "ok"


async def codes_of(plugin, run_id, ids=IDS):
    return {
        action: await code_of(
            plugin, action, {**fill(row["data"], ids), "run_id": run_id}
        )
        for action, row in CALLS.items()
    }


def expected(column):
    return {action: row[column] for action, row in CALLS.items()}


async def test_no_call_is_for_another_run_or_plugin(host):
    async with connected(host, "calls-of") as owner, connected(host, "taker") as thief:
        mine, request = await begin_run(host, owner)
        before, first = await begin_run(host, owner)
        await owner.complete(first, "over")
        assert await ended(host, before) == ("completed", "")
        for run_id in (str(uuid4()), before):
            assert await codes_of(owner, run_id) == expected("wrong_run")
        assert await codes_of(thief, mine) == expected("wrong_plugin")
        await owner.complete(request, "mine")
        assert await ended(host, mine) == ("completed", "")
        await assert_serves(host, owner, thief)
        codes = expected("wrong_plugin").values()
        refused = len([code for code in codes if code != "ok"])

        def counted():
            rows = host.inside(refusals_of, run_id=mine)
            theirs = [row for row in rows if row["plugin"] == "raw/taker"]
            return theirs if len(theirs) == refused else None

        rows = await aside(host.wait_for, counted, "the refusals of the thief")
        assert {row["code"] for row in rows} == {"run.not_active"}


async def test_frames_that_are_too_large_are_refused(host):
    large = {name: row for name, row in CALLS.items() if row["over"]}
    rows = {name: row for name, row in large.items() if "filler" in row["over"]}
    async with connected(host, "large-calls") as plugin:
        run_id, request = await begin_run(host, plugin)
        for action, row in rows.items():
            data = {**too_large(row, IDS), "run_id": run_id}
            assert await code_of(plugin, action, data) == "too_large", action
        await plugin.complete(request, "done")
        assert await ended(host, run_id) == ("completed", "")
    assert {"state_get", "history_page", "run_get"} <= set(rows)


async def test_a_flood_of_refused_calls_is_a_few_rows(host):
    async with connected(host, "flooding") as plugin:
        run_id, request = await begin_run(host, plugin)
        target = {"run_id": run_id, "target_run_id": str(uuid4())}
        for _ in range(20):
            calls = [code_of(plugin, "run_get", target) for _ in range(100)]
            codes = await asyncio.gather(*calls)
            assert set(codes) <= {"not_found", "rate_limited"}
        await plugin.complete(request, "done")
        assert await ended(host, run_id) == ("completed", "")

        def counted():
            rows = host.inside(refusals_of, run_id=run_id)
            return rows if sum(row["count"] for row in rows) == 2000 else None

        rows = await aside(host.wait_for, counted, "2,000 refusals")
        assert {row["action"] for row in rows} == {"run_get"}
        assert len(rows) <= 2


# Swapped ids


class Party:
    """One run on a plugin of its own, in some workspace, and all that it owns."""

    def __init__(self, plugin, run_id, ids, marks):
        self.plugin, self.run_id, self.ids, self.marks = plugin, run_id, ids, marks


async def join(host, stack, name, place, plugin_name):
    """Register a plugin with a token of the workspace and begin a run of it."""
    token = await aside(
        host.inside, make_plugin_token, label=name, plugins=["*"], workspace=place
    )
    plugin = RawPlugin(host.socket_url, token, name=plugin_name)
    plugin.components = [
        runner_component("Runner", capabilities=("streaming", "tool_calling"))
    ]
    await stack.enter_async_context(plugin)
    await plugin.handshake()
    run_id = await aside(
        host.inside,
        start_run,
        name=name,
        place=place,
        plugin=f"raw/{plugin_name}",
        text=f"{MARK} {name}",
    )
    await plugin.next_run()
    ids = await aside(host.inside, furnish_by_id, run_id=run_id, name=name)
    marks = {f"{MARK} {name}", f"{MARK} {place}", f"{place} raw/{plugin_name}"}
    return Party(plugin, run_id, ids, marks)


class Swapper:
    """Makes calls with ids of others in them and collects what leaks."""

    def __init__(self, parties, seed):
        self.parties = parties
        self.random = random.Random(seed)  # noqa: S311  a repeatable choice
        self.leaks = []

    def mixed_ids(self, party):
        """Return ids of any party, at least one of another."""
        others = [one for one in self.parties if one is not party]
        ids = {name: self.random.choice(self.parties).ids[name] for name in party.ids}
        stranger = self.random.choice(others)
        name = self.random.choice(sorted(ids))
        return ids | {name: stranger.ids[name]}

    async def swap(self):
        party = self.random.choice(self.parties)
        action = self.random.choice(sorted(CALLS))
        data = fill(CALLS[action]["data"], self.mixed_ids(party))
        run_id = self.random.choice(self.parties).run_id
        own = run_id == party.run_id
        if action in ENDING and data.get("target_run_id") == party.run_id:
            return  # its own run, which the other swaps need
        try:
            answer = await party.plugin.call(action, {**data, "run_id": run_id})
        except HostCallError as refused:
            self.judge(party, action, str(refused) + said(refused.frame), own=own)
            return
        if not own and answer != {"cancelled": False}:
            self.leaks.append((action, "answered for another run", answer))
        self.judge(party, action, said(answer), own=own)

    def judge(self, party, action, text, *, own):
        foreign = {mark for one in self.parties for mark in one.marks} - party.marks
        found = [mark for mark in foreign if mark in text]
        if found:
            self.leaks.append((action, "said", found, own))

    async def run(self, count):
        for start in range(0, count, 20):
            several = min(20, count - start)
            await asyncio.gather(*(self.swap() for _ in range(several)))
        return self.leaks


async def swapped(host, count, seed):
    """Three plugins, two in one workspace; returns leaks and what changed."""
    from contextlib import AsyncExitStack

    suffix = f"{seed}-{uuid4().hex[:8]}"
    async with AsyncExitStack() as stack:
        near, far = f"near-{suffix}", f"far-{suffix}"
        parties = [
            await join(host, stack, f"a-{suffix}", near, f"swap-a-{suffix}"),
            await join(host, stack, f"b-{suffix}", near, f"swap-b-{suffix}"),
            await join(host, stack, f"c-{suffix}", far, f"swap-c-{suffix}"),
        ]
        swapper = Swapper(parties, seed)
        leaks = await swapper.run(count)
        for party in parties:  # its own run is what it was
            answer = await party.plugin.call(
                "run_get", {"run_id": party.run_id, "target_run_id": party.run_id}
            )
            assert answer["status"] == "running"
        return leaks


async def test_a_few_hundred_swapped_ids_leak_nothing(host):
    assert await swapped(host, 300, seed=1) == []


async def test_a_leak_would_be_seen():
    party = Party(None, "1", IDS, {f"{MARK} me"})
    other = Party(None, "2", IDS, {f"{MARK} them"})
    swapper = Swapper([party, other], seed=3)
    swapper.judge(party, "state_get", f"it {MARK} them secret", own=True)
    assert swapper.leaks
