"""Storage, search, events, runs and files from real plugins of the public SDK."""

import base64
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

# Released SDKs have no method for files; their connection takes any action.
PROBE = runner_source(
    """
import enum
import json

api = self.get_run_api(ctx)
refs = [one.ref for one in ctx.input.attachments if getattr(one, "ref", None)]

class Files(enum.Enum):
    METADATA = "artifact_metadata"
    READ = "artifact_read"
    RANGE = "artifact_read_range"

async def file(action, **more):
    data = {"run_id": ctx.run_id, "artifact_id": refs[0], **more}
    return await api._api.plugin_runtime_handler.call_action(action, data, 15)

async def storage():
    blob = bytes(range(256)) * values["kib"] * 4
    await api.set_plugin_storage("blob", blob)
    same = await api.get_plugin_storage("blob") == blob
    keys = await api.get_plugin_storage_keys()
    await api.delete_plugin_storage("blob")
    return [same, keys, await api.get_plugin_storage_keys()]

async def workspace():
    await api.set_workspace_storage("shared", b"ours")
    return (await api.get_workspace_storage("shared")).decode()

async def search():
    page = await api.history_search(values["query"])
    return [item.content for item in page.items]

async def events():
    record = await api.event_get(ctx.event.event_id)
    page = await api.event_page(limit=10)
    return [record.event_type, [one.event_id == record.event_id for one in page.items]]

async def runs():
    page = await api.run_list(limit=10)
    ledger = await api.run_events_page(limit=2)
    own = [one.run_id == ctx.run_id for one in page.items]
    return [own, page.total_count, [one.type for one in ledger.items]]

async def files():
    known = await file(Files.METADATA)
    whole = await file(Files.READ)
    part = await file(Files.RANGE, offset=1, length=3)
    return [known["name"], whole["content_base64"], part["content_base64"]]

calls = {
    "storage": storage,
    "workspace": workspace,
    "search": search,
    "events": events,
    "runs": runs,
    "files": files,
}
found = {}
for name in values["calls"].split(","):
    try:
        found[name] = await calls[name]()
    except Exception as error:
        code = getattr(getattr(error, "error", None), "code", None)
        found[name] = f"refused {code or type(error).__name__}"
yield completed(ctx, json.dumps(found, ensure_ascii=False))
""",
    {"calls": "storage", "query": "天气", "kib": 64},
    permissions={
        "history": ["page", "search"],
        "events": ["get", "page"],
        "storage": ["plugin", "workspace"],
    },
)
ALL = "storage,workspace,search,events,runs,files"


@pytest.fixture(scope="module", params=SDK_VERSIONS)
def probe(request, shared_host, tmp_path_factory):
    """Yield the id of a runner that makes the calls."""
    environment = sdk_environment(request.param)
    name = f"reading-{request.param.replace('.', '-')}"
    target: Path = tmp_path_factory.mktemp("sdk")
    folder = generate_runner_plugin(environment, target, "acme", name)
    write_runner_source(folder, PROBE)
    token = shared_host.plugin_token(name, (f"acme/{name}",))
    with PluginProcess(environment, folder, shared_host.socket_url, token):
        runner = f"plugin:acme/{name}/default"
        shared_host.wait_runner(runner)
        yield runner


@pytest.fixture
def ask(host, probe):
    """Ask an agent of the probe in a new conversation; returns its answers."""

    def ask(text, calls=ALL, content=None, **more):
        slug = probe.split("/")[1]
        policy = {"workspace_storage": True, **more.pop("policy", {})}
        config = {"calls": calls, **more}
        host.make_agent(slug, probe, config, resource_policy=policy)
        conversation = host.api("POST", "conversations/", json={})["id"]
        body = {"text": text, "agent": slug}
        if content is not None:
            files = {"file": ("notes.txt", content, "text/plain")}
            body["files"] = [host.api("POST", "artifacts/", files=files)["id"]]
        path = f"conversations/{conversation}/messages/"
        answer = host.api("POST", path, json=body)
        run = host.wait_run(answer["run_id"])
        assert run["status"] == "completed", run
        return json.loads(host.reply(run["id"]))

    return ask


def test_every_reading_call_is_answered(ask):
    text = "今天天气怎么样"
    found = ask(text, content=b"hello")
    assert found == {
        "storage": [True, ["blob"], []],
        "workspace": "ours",
        "search": [text],
        "events": ["message.received", [True]],
        "runs": [[True], 1, ["run.queued", "run.started"]],
        "files": [
            "notes.txt",
            base64.b64encode(b"hello").decode(),
            base64.b64encode(b"ell").decode(),
        ],
    }


def test_what_the_agent_does_not_grant_is_refused(ask):
    none = {"plugin_storage": False, "workspace_storage": False, "artifacts": False}
    found = ask("hello", "storage,workspace,files", b"hello", policy=none)
    # The SDK looks at what was granted before it asks; for files it cannot.
    denied = "refused PermissionDeniedError"
    assert found["storage"] == found["workspace"] == denied
    assert found["files"] == "refused permission_denied"


def test_values_of_several_mib_cross_the_socket(ask):
    assert ask("hello", "storage", kib=9 * 1024)["storage"][0] is True
