"""What a plugin may ask without a run: names of its one workspace, and no secret."""

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from runners.host_api.connection_calls import CONTROL, INFORMATION
from tests.support.call_worlds import furnish_workspace
from tests.support.host import aside
from tests.support.host_rows import deliveries_of, make_plugin_token, sent_by
from tests.support.plugin_socket import HostCallError
from tests.support.raw_plugin import RawPlugin

SECRET = "sk-never-shown"


@asynccontextmanager
async def plugin_of(host, name, workspace, **rights):
    token = await aside(
        host.inside,
        make_plugin_token,
        label=name,
        plugins=["*"],
        workspace=workspace,
        **rights,
    )
    async with RawPlugin(host.socket_url, token, name=name) as plugin:
        await plugin.handshake()
        async with asyncio.timeout(15):
            # Its registration is answered before it is written.
            while await refused(plugin, "get_config_file") == "unavailable":
                await asyncio.sleep(0.02)
        yield plugin


async def furnished(host, place):
    return await aside(host.inside, furnish_workspace, place=place, secret=SECRET)


async def refused(plugin, action, **data):
    with pytest.raises(HostCallError) as error:
        await plugin.call(action, data)
    return error.value.code


async def test_a_plugin_hears_of_its_own_workspace_only(host):
    near, far = f"near-{uuid4().hex[:8]}", f"far-{uuid4().hex[:8]}"
    mine, theirs = await furnished(host, near), await furnished(host, far)
    async with plugin_of(host, f"asks-{near}", near) as plugin:
        answers = {
            "get_bots": {"bots": [mine["bot"]]},
            "get_llm_models": {"llm_models": [mine["model"]]},
            "list_commands": {"commands": []},
        }
        for action, expected in answers.items():
            assert await plugin.call(action) == expected
        answer = await plugin.call("get_bot_info", {"bot_uuid": mine["bot"]})
        assert answer == {
            "bot": {
                "uuid": mine["bot"],
                "name": f"{near} bot",
                "adapter": "webhook",
                "enable": True,
            }
        }
        plugins = await plugin.call("list_plugins_manifest")
        text = json.dumps([answer, plugins])
        assert f"asks-{near}" in text
        assert far not in text
        assert SECRET not in text
        for bot in (theirs["bot"], "x", str(uuid4())):
            assert await refused(plugin, "get_bot_info", bot_uuid=bot) == "not_found"
        assert await refused(plugin, "get_bot_info") == "invalid_request"
        assert await refused(plugin, "get_config_file", file_key="k") == "not_found"


async def test_what_runs_are_granted_is_refused_without_one(host):
    refusing = [
        action
        for action, handler in INFORMATION.items()
        if action not in CONTROL and handler.__name__ == "refuse"
    ]
    assert len(refusing) >= 15
    async with plugin_of(host, f"runless-{uuid4().hex[:8]}", "default") as plugin:
        for action in refusing:
            assert await refused(plugin, action) == "permission_denied", action
        assert (await plugin.call("get_langbot_version"))["version"]


async def test_a_token_for_all_workspaces_stands_for_none(host):
    async with plugin_of(host, f"all-{uuid4().hex[:8]}", None) as plugin:
        for action in ("get_bots", "get_llm_models", "list_plugins_manifest"):
            assert await refused(plugin, action) == "permission_denied"


async def test_messages_take_the_right_and_a_known_place(host):
    near, far = f"near-{uuid4().hex[:8]}", f"far-{uuid4().hex[:8]}"
    mine, theirs = await furnished(host, near), await furnished(host, far)
    chain = [{"type": "Plain", "text": "hello "}, {"type": "Plain", "text": "you"}]
    good = {
        "bot_uuid": mine["bot"],
        "target_type": "person",
        "target_id": f"{near} room",
        "message_chain": chain,
    }
    async with plugin_of(host, f"dumb-{near}", near) as plugin:
        assert await refused(plugin, "send_message", **good) == "permission_denied"
    async with plugin_of(host, f"says-{near}", near, control_plane=True) as plugin:
        bad: dict[str, list[dict[str, Any]]] = {
            "not_found": [
                {"bot_uuid": theirs["bot"]},
                {"target_id": f"{far} room"},
                {"bot_uuid": theirs["bot"], "target_id": f"{far} room"},
            ],
            "invalid_request": [
                {"message_chain": []},
                {"message_chain": [{"type": "Image", "url": "http://x"}]},
                {"message_chain": [{"type": "Plain", "text": 7}]},
            ],
            "too_large": [{"message_chain": [{"type": "Plain", "text": "x" * 32_001}]}],
        }
        for code, changes in bad.items():
            for change in changes:
                given = {**good, **change}
                assert await refused(plugin, "send_message", **given) == code
        answer = await plugin.call("send_message", good)
        rows = await aside(host.inside, deliveries_of, bot=mine["bot"])
        assert [row["id"] for row in rows] == [answer["result"]["delivery_id"]]
        assert rows[0]["text"] == "hello you"
    assert await aside(host.inside, deliveries_of, bot=theirs["bot"]) == []


async def test_a_message_is_in_the_transcript_and_said_once(host):
    near = f"near-{uuid4().hex[:8]}"
    mine = await furnished(host, near)
    data = {
        "bot_uuid": mine["bot"],
        "target_id": f"{near} room",
        "message_chain": [{"type": "Plain", "text": "hello you"}],
    }
    frame = {"seq_id": 7_000_001, "action": "send_message", "data": data}
    async with plugin_of(host, f"says-{near}", near, control_plane=True) as plugin:
        for _again in range(5):
            await plugin.send(frame)
        async with asyncio.timeout(30):
            while len(plugin.unmatched) < 5:
                await asyncio.sleep(0.02)
        answers = [answer["data"]["result"] for answer in plugin.unmatched]
        rows = await aside(host.inside, deliveries_of, bot=mine["bot"])
        assert [{"delivery_id": row["id"]} for row in rows] * 5 == answers
        await plugin.call("send_message", data)
    said = await aside(host.inside, sent_by, bot=mine["bot"])
    assert said["lines"] == [["assistant", "hello you", None]] * 2
    assert said["actors"] == [{"type": "plugin", "id": f"raw/says-{near}"}] * 2
    assert len(set(said["sources"])) == 1
    assert said["sources"][0].startswith("plugin:")
