"""Cancelled and late runs of plugins that help, obey, ignore it, hang or are gone."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from tests.support.host import aside
from tests.support.host_rows import deliveries_of, transcript_of
from tests.support.plugin_manifests import runner_component
from tests.support.plugin_socket import HostCallError
from tests.support.raw_runs import unregistered
from tests.support.runner_sources import config_field

BOUND_SECONDS = 5.0  # from the request to cancel, or the deadline, to the end
DEADLINE_SECONDS = 1
SO_FAR = "so far"
CANCELLED = ("cancelled", "cancelled")
LATE = ("timeout", "runner.timeout")
ENDS = {"cancel": CANCELLED, "deadline": LATE}


async def until_stopped(plugin, request, how):
    """Wait as runners of the SDK do: they ask twice a second, or look at the clock."""
    context = request["data"]["context"]
    if how == "deadline":
        await asyncio.sleep(context["runtime"]["deadline_at"] + 0.1 - time.time())
        return
    data = {"run_id": context["run_id"], "target_run_id": context["run_id"]}
    while (await plugin.call("run_get", data))["cancel_requested_at"] is None:
        await asyncio.sleep(0.1)


async def stop_itself(plugin, request, how):
    """End the run as a runner does that cooperates."""
    await until_stopped(plugin, request, how)
    error = {"error": "stopped", "code": ENDS[how][1], "retryable": False}
    await plugin.result(request, "run.failed", error, sequence=2)
    await plugin.reply(request, chunk="end")


async def obey(plugin, request, how):
    """Drop the task when told to; after that nothing comes of it (wire 2.5)."""
    others = []
    while (stop := await plugin.next_request())["action"] != "__cancel_action":
        others.append(stop)
    assert stop["data"] == {"seq_id": request["seq_id"]}
    await plugin.reply(stop, {"cancelled": True})
    for other in others:
        plugin.requests.put_nowait(other)


async def ignore(plugin, request, how):
    """Do nothing of what it is told."""


async def hang(plugin, request, how):
    """Read nothing more, as a process whose loop is blocked."""
    plugin.stop_reading()


async def vanish(plugin, request, how):
    """Die while the run is being stopped."""
    await until_stopped(plugin, request, how)
    await plugin.abort()


async def nothing(plugin):
    """Be there as before."""


async def read_again(plugin):
    """Read what was left unread."""
    plugin.read_on()


async def come_back(plugin):
    """Connect again as the same plugin."""
    await plugin.open()
    await plugin.handshake()


@dataclass(frozen=True)
class Kind:
    """What a plugin does when its run is stopped, and how it goes on afterwards."""

    react: Callable[..., Awaitable[None]]
    capabilities: tuple[str, ...] = ("streaming",)
    recover: Callable[..., Awaitable[None]] = nothing


KINDS = {
    "cooperative": Kind(stop_itself, ("streaming", "interrupt")),
    "hard-cancel": Kind(obey),
    "silent": Kind(ignore),
    "silent-but-promised": Kind(ignore, ("streaming", "interrupt")),
    "blocked": Kind(hang, recover=read_again),
    "vanished": Kind(vanish, ("streaming", "interrupt"), come_back),
}


@dataclass
class Talk:
    """A conversation of a bot, whose deliveries are what people would receive."""

    host: Any
    agent: str
    bot: str
    id: str

    def say(self, text):
        """Send a message; returns what the host says of it."""
        given = {"text": text, "agent": self.agent}
        return self.host.api("POST", f"conversations/{self.id}/messages/", json=given)

    def outcome(self, run_id):
        """Return everything that a late result could change."""
        return {
            "run": self.host.run_of(run_id),
            "events": self.host.events(run_id),
            "transcript": self.host.inside(transcript_of, conversation=self.id),
            "delivered": self.host.inside(deliveries_of, bot=self.bot),
        }


def open_talk(host, agent):
    """Open a conversation of a new bot."""
    given = {"slug": agent, "name": agent, "adapter": "web"}
    bot = host.api("POST", "bots/", json=given)["id"]
    answer = host.api("POST", "conversations/", json={"key": agent, "bot": bot})
    return Talk(host, agent, bot, answer["id"])


@asynccontextmanager
async def talking(host, kind, timeout):
    """Yield a plugin that behaves as `kind` says, and a conversation with its agent."""
    name = f"stopped-{uuid4().hex[:8]}"
    async with unregistered(host, name) as plugin:
        fields = [config_field("timeout", 60)]
        plugin.components = [
            runner_component("Runner", config=fields, capabilities=kind.capabilities)
        ]
        await plugin.handshake()
        runner = f"plugin:raw/{name}/default"
        await aside(host.make_agent, name, runner, {"timeout": timeout})
        yield plugin, await aside(open_talk, host, name)


async def begin(host, plugin, talk):
    """Start a run that has said something; returns its id and its request."""
    run_id = (await aside(talk.say, "first"))["run_id"]
    request = await plugin.next_run()
    await plugin.delta(request, SO_FAR)
    await aside(host.wait_for, lambda: host.events(run_id, "message.delta"), "a delta")
    return run_id, request


async def stop(host, plugin, run, how, kind):
    """Have the run stopped, and return it once it ended."""
    run_id, request = run
    reaction = asyncio.create_task(kind.react(plugin, request, how))
    if how == "cancel":
        await aside(host.cancel, run_id)
    ended = await aside(host.wait_run, run_id)
    await reaction
    return ended


async def send_late_results(plugin, run_id, request):
    """Go on with a run that ended; returns the codes of what was answered."""
    await plugin.delta(request, f"{SO_FAR} and more", sequence=3)
    message = {"message": {"role": "assistant", "content": "too late"}}
    await plugin.result(request, "message.completed", message, sequence=4)
    await plugin.complete(request, "too late", sequence=5)
    result = {"type": "message.completed", "data": message}
    calls = {
        "run_append_result": {"target_run_id": run_id, "result": result},
        "run_finalize": {"target_run_id": run_id, "status": "completed"},
        "state_set": {"scope": "conversation", "key": "k", "value": "late"},
        "reply_stream": {"text": "late"},
        "history_page": {"limit": 10},
    }
    codes = {}
    for action, data in calls.items():
        with pytest.raises(HostCallError) as refused:
            await plugin.call(action, {"run_id": run_id, **data})
        codes[action] = refused.value.code
    return set(codes.values())


def seconds_to_the_end(run, how):
    asked = run["cancel_requested_at" if how == "cancel" else "deadline_at"]
    begun, ended = map(datetime.fromisoformat, (asked, run["finished_at"]))
    return (ended - begun).total_seconds()


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_a_stopped_run_ends_in_time_and_for_good(host, kind, how):
    timeout = DEADLINE_SECONDS if how == "deadline" else 60
    async with talking(host, kind, timeout) as (plugin, talk):
        run_id, request = await begin(host, plugin, talk)
        queued = await aside(talk.say, "second")
        assert queued["status"] == "queued"
        run = await stop(host, plugin, (run_id, request), how, kind)
        assert (run["status"], run["error_code"]) == ENDS[how]
        assert seconds_to_the_end(run, how) <= BOUND_SECONDS

        await kind.recover(plugin)
        second = await plugin.next_run()
        assert second["data"]["context"]["input"]["text"] == "second"
        before = await aside(talk.outcome, run_id)
        assert await send_late_results(plugin, run_id, request) == {"run.not_active"}
        assert await aside(talk.outcome, run_id) == before

        await plugin.complete(second, "the answer")
        second_id = second["data"]["context"]["run_id"]
        assert (await aside(host.wait_run, second_id))["status"] == "completed"
        await assert_told_once(host, talk, before)


async def assert_told_once(host, talk, before):
    """Fail unless people got the text so far, marked incomplete, and the next answer.

    `before` is what was there when the stopped run had ended.
    """
    types = [event["type"] for event in before["events"]]
    assert types[-1] == "run.failed"
    assert types.count("run.failed") == 1
    assert "message.completed" not in types
    first, *_ = said = [
        item
        for item in await aside(host.inside, transcript_of, conversation=talk.id)
        if item["role"] == "assistant"
    ]
    assert [item["text"] for item in said] == [SO_FAR, "the answer"]
    assert first["metadata"] == {"incomplete": True}
    assert said[1]["metadata"] == {}
    delivered = await aside(host.inside, deliveries_of, bot=talk.bot)
    assert len(delivered) == 2
    assert delivered[0]["text"].split("\n")[0] == SO_FAR
    assert delivered[1]["text"] == "the answer"
