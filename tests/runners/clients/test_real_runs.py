"""Sockets and streams of the real host: hidden reasoning, stop and resend, cuts."""

import asyncio
import json
import random
from contextlib import asynccontextmanager
from typing import Any

from tests.support.host import aside
from tests.support.host_rows import transcript_of
from tests.support.raw_runs import begin_run, connected, ended
from tests.support.run_socket import RunSocket


def documents_of(text):
    """Return the events of an SSE answer."""
    lines = text.splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


async def token_of(host, run_id):
    return (await aside(host.api, "POST", f"runs/{run_id}/token/", json={}))["token"]


async def streamed(host, run_id, after=0):
    path = f"/api/v1/runs/{run_id}/stream/"
    answer = await aside(host.client.get, path, params={"after": after})
    return documents_of(answer.text)


@asynccontextmanager
async def thinking_run(host, name, policy):
    """Yield the id of an ended run that thought, spoke and thought again."""
    async with connected(host, name) as plugin:
        runner = f"plugin:raw/{name}/default"
        more = {"delivery_policy": policy}
        await aside(host.make_agent, name, runner, {}, **more)
        run_id, request = await begin_run(host, plugin)
        for number, text in enumerate(("Hm", ", well"), 1):
            await plugin.result(
                request, "reasoning.delta", {"text": text}, sequence=number
            )
        await plugin.delta(request, "So", sequence=3)
        await plugin.result(request, "reasoning.delta", {"text": "Good"}, sequence=4)
        await plugin.complete(request, "So be it", sequence=5)
        assert await ended(host, run_id) == ("completed", "")
        yield run_id


async def what_is_seen(host, run_id):
    """Return the reasoning of SSE, the socket, the ledger and the transcript."""
    async with RunSocket(host.url, run_id, await token_of(host, run_id)) as client:
        frames = await client.events()
    run = await aside(host.run_of, run_id)
    path = f"conversations/{run['conversation']}/messages/"
    rows = (await aside(host.api, "GET", path))["results"]
    documents = [await streamed(host, run_id), await aside(host.events, run_id)]
    seen = [
        "".join(
            one["data"]["text"] for one in found if one["type"] == "reasoning.delta"
        )
        for found in documents
    ]
    frames = [one for one in frames if one["event_type"] == "reasoning.delta"]
    seen.append("".join(one["data"]["text"] for one in frames))
    rows = [row for row in reversed(rows) if row["role"] == "reasoning"]
    return seen, [row["text"] for row in rows]


async def test_reasoning_is_shown_apart_from_the_answer(host):
    async with thinking_run(host, "thinker", {}) as run_id:
        seen, rows = await what_is_seen(host, run_id)
        assert seen == ["Hm, wellGood"] * 3
        assert rows == ["Hm, well", "Good"]
        assert await aside(host.reply, run_id) == "So be it"


async def test_hidden_reasoning_is_seen_by_nobody_but_the_admin(host):
    async with thinking_run(host, "secretive", {"show_reasoning": False}) as run_id:
        seen, rows = await what_is_seen(host, run_id)
        assert seen == ["", "", ""]
        assert rows == []
        place = (await aside(host.run_of, run_id))["conversation"]
        kept = await aside(host.inside, transcript_of, conversation=place)
        assert [row["text"] for row in kept if row["role"] == "reasoning"] == [
            "Hm, well",
            "Good",
        ]


async def test_stop_and_resend_never_collide(host):
    """AG-44: neither busy nor an error, however close the two come."""
    async with connected(host, "resender") as plugin:
        row = await aside(host.api, "POST", "conversations/", json={})
        path = f"conversations/{row['id']}/messages/"
        (agent,) = (
            await aside(host.api, "GET", "agents/", params={"slug": "resender"})
        )["results"]
        stopped = []
        for number in range(10):
            body = {"text": f"first {number}", "agent": agent["id"]}
            first = await aside(host.api, "POST", path, json=body)
            request = await plugin.next_run()
            await plugin.delta(request, f"half {number}")
            stop = aside(host.cancel, first["run_id"])
            again = {**body, "text": f"second {number}"}
            send = aside(host.api, "POST", path, json=again)
            # in either order, and with any distance
            both = [stop, send] if number % 2 else [send, stop]
            answers = await asyncio.gather(*both)
            sent = answers[number % 2]
            assert sent["status"] in {"started", "queued"}
            request = await plugin.next_run()
            assert request["data"]["context"]["input"]["text"] == f"second {number}"
            await plugin.complete(request, f"whole {number}")
            run_id = request["data"]["context"]["run_id"]
            assert await ended(host, run_id) == ("completed", "")
            stopped.append(await ended(host, first["run_id"]))
        assert stopped == [("cancelled", "cancelled")] * 10
        kept = await aside(host.api, "GET", path)
        said = [one for one in kept["results"] if one["role"] == "assistant"]
        partial = [one["text"] for one in said if one["metadata"].get("incomplete")]
        assert set(partial) <= {f"half {number}" for number in range(10)}
        marks = [one["text"] for one in kept["results"] if one["type"] == "stop_marker"]
        assert marks == ["[stopped]"] * 10


async def test_cut_streams_and_sockets_are_whole(host):
    """Cut at random places while it is said; then the same over SSE."""
    async with connected(host, "cut") as plugin:
        run_id, request = await begin_run(host, plugin)
        token = await token_of(host, run_id)

        async def say():
            for number in range(1, 120):
                await plugin.delta(request, f"{number}-{'x' * 40} ", sequence=number)
                await asyncio.sleep(0.005)
            await plugin.complete(request, "all", sequence=120)

        saying = asyncio.create_task(say())
        got: list[tuple[Any, Any, Any]] = []
        while not got or got[-1][1] not in {"run.completed", "run.failed"}:
            after = got[-1][0] if got else 0
            count = random.randint(1, 40)  # noqa: S311  no secret
            async with RunSocket(host.url, run_id, token, resume_from=after) as client:
                for _ in range(count):
                    frame = await client.frame("agent_event", "session_complete")
                    if frame["type"] == "session_complete":
                        break
                    got.append((frame["seq"], frame["event_type"], frame["data"]))
        await saying
        whole = await streamed(host, run_id)
        assert got == [(one["seq"], one["type"], one["data"]) for one in whole]
        cut = random.randint(1, len(whole) - 1)  # noqa: S311
        assert await streamed(host, run_id, cut) == whole[cut:]
