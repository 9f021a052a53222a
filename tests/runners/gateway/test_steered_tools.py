"""What a runner pulls right behind a tool stands behind it in the transcript."""

from tests.support.host import aside
from tests.support.plugin_manifests import runner_component
from tests.support.raw_runs import ended, unregistered

NAME = "steered"


async def use_tool(plugin, request, call_id, sequence):
    """Tell of a whole tool call, as runners do."""
    named = {"tool_call_id": call_id, "tool_name": "add"}
    await plugin.result(
        request,
        "tool.call.started",
        {**named, "parameters": {"a": 1}},
        sequence=sequence,
    )
    await plugin.result(
        request,
        "tool.call.completed",
        {**named, "result": {"sum": sequence}},
        sequence=sequence + 1,
    )


def say(host, conversation, text):
    path = f"conversations/{conversation}/messages/"
    body = {"text": text, "agent": NAME}
    return host.api("POST", path, json=body)["status"]


async def test_a_pull_waits_for_the_tools_before_it(host):
    async with unregistered(host, NAME) as plugin:
        capabilities = ("streaming", "steering", "tool_calling")
        plugin.components = [runner_component("Runner", capabilities=capabilities)]
        await plugin.handshake()
        policy = {"agents": ["echo"]}
        runner = f"plugin:raw/{NAME}/default"
        await aside(host.make_agent, NAME, runner, resource_policy=policy)
        place = (await aside(host.api, "POST", "conversations/", json={}))["id"]
        await aside(say, host, place, "one")
        request = await plugin.next_run()
        run_id = request["data"]["context"]["run_id"]
        for number in range(20):
            assert await aside(say, host, place, f"more {number}") == "queued"
            await use_tool(plugin, request, f"call {number}", 2 * number + 1)
            pulled = await plugin.call("steering_pull", {"run_id": run_id})
            assert len(pulled["items"]) == 1
        await plugin.complete(request, "done", sequence=41)
        assert await ended(host, run_id) == ("completed", "")
    path = f"conversations/{place}/messages/"
    rows = (await aside(host.api, "GET", path, params={"limit": 200}))["results"]
    told = [row["text"] for row in rows[::-1] if row["type"] != "tool_call"]
    expected = ["one"]
    for number in range(20):
        expected += [f'{{"sum": {2 * number + 1}}}', f"more {number}"]
    assert told == [*expected, "done"]
