"""Replies, steering and models of a real plugin of the public SDK."""

import json
from pathlib import Path

import pytest

from tests.support.runner_sources import runner_source
from tests.support.sdk_environment import (
    SDK_VERSIONS,
    PluginProcess,
    generate_runner_plugin,
    sdk_environment,
    write_runner_source,
)

pytestmark = [pytest.mark.sdk, pytest.mark.timeout(900)]

PROBE = runner_source(
    """
import json

api = self.get_run_api(ctx)

async def reply():
    return (await api.call_tool("event_reply", {"text": "at once"}))["status"]

async def stream():
    async with api.reply_stream() as growing:
        await growing.update("gro")
        await growing.update("grown")
    return growing.result["status"]

async def steering():
    return [len((await api.steering_pull()).items)]

async def tool():
    return await api.call_tool("unknown", {})

found = {}
for call in (reply, stream, steering, tool):
    try:
        found[call.__name__] = await call()
    except Exception as error:
        code = getattr(getattr(error, "error", None), "code", None)
        found[call.__name__] = f"refused {code or type(error).__name__}"
yield completed(ctx, json.dumps(found))
""",
    {},
    permissions={"tools": ["detail", "call"]},
    capabilities={"steering": True},
)


@pytest.mark.parametrize("version", SDK_VERSIONS[:1])
def test_a_runner_replies_before_its_end(host, tmp_path, version):
    environment = sdk_environment(version)
    name = f"replying-{version.replace('.', '-')}"
    folder: Path = generate_runner_plugin(environment, tmp_path, "acme", name)
    write_runner_source(folder, PROBE)
    token = host.plugin_token(name, (f"acme/{name}",))
    with PluginProcess(environment, folder, host.socket_url, token):
        runner = f"plugin:acme/{name}/default"
        host.wait_runner(runner)
        host.make_agent(name, runner, {})
        conversation = host.api("POST", "conversations/", json={})["id"]
        path = f"conversations/{conversation}/messages/"
        answer = host.api("POST", path, json={"text": "hi", "agent": name})
        run = host.wait_run(answer["run_id"])
        assert run["status"] == "completed", run
        items = host.api("GET", path)["results"]
    texts = [item["text"] for item in items if item["role"] == "assistant"]
    assert texts[1:] == ["grown", "at once"]  # newest first
    assert json.loads(texts[0]) == {
        "reply": "recorded",
        "stream": "recorded",
        "steering": [0],
        "tool": "refused PermissionDeniedError",
    }
