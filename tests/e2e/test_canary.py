"""Secrets stay where they are kept: no log, page, event, error or row repeats them."""

from uuid import uuid4

import pytest

from tests.support.canary import canary_model, hide_secrets, pages_with, rows_with
from tests.support.host import aside
from tests.support.host_rows import make_plugin_token
from tests.support.plugin_manifests import runner_component
from tests.support.plugin_socket import HostCallError
from tests.support.raw_plugin import RawPlugin
from tests.support.raw_runs import begin_run, ended
from tests.support.runner_sources import config_field

PLACES = ("config", "provider", "bot")
LISTS = (
    *("agents", "bots", "runners", "runs", "events", "conversations"),
    *("deliveries", "state", "audit", "models"),
)
NOBODY_LISTENS = 9  # the port of "discard"


def canaries():
    return {place: f"canary-{place}-{uuid4().hex}" for place in PLACES}


async def drive(host, plugin, words):
    """Make runs that succeed, fail, call models and are refused."""
    for text in ("one", "two"):
        run_id, request = await begin_run(host, plugin, text)
        context = request["data"]["context"]
        assert context["config"]["key"] == words["config"]  # its runner may know it
        model = await aside(host.inside, canary_model)
        for action, data in {
            "invoke_llm": {"llm_model_uuid": model, "messages": []},
            "history_page": {"conversation_id": "x"},
            "get_prompt": {},
            "no_such_action": {},
        }.items():
            try:
                answer = await plugin.call(action, {"run_id": run_id, **data})
            except HostCallError as refused:
                answer = refused.frame
            assert not any(word in str(answer) for word in words.values()), action
        if text == "one":
            await plugin.complete(request, "done")
        else:
            failure = {"error": "it broke", "code": "runner.error"}
            await plugin.result(request, "run.failed", failure)
        await ended(host, run_id)


def ask_rest(host, words):
    """Read what REST tells of everything, and send what it refuses."""
    texts = [host.client.get(f"/api/v1/{path}/").text for path in LISTS]
    (agent,) = host.api("GET", "agents/", params={"slug": "canary"})["results"]
    texts.append(host.client.get(f"/api/v1/agents/{agent['id']}/versions/").text)
    bad = {"runner_config": {"key": words["config"], "timeout": "soon"}}
    texts.append(host.client.patch(f"/api/v1/agents/{agent['id']}/", json=bad).text)
    hook = {"type": "message.received", "conversation": "c", "actor": {"id": "a"}}
    texts.append(host.client.post("/webhooks/canary/", json=hook).text)
    bot = {"slug": "canary", "adapter": "webhook", "secrets": {"secret": words["bot"]}}
    texts.append(host.client.post("/api/v1/bots/", json=bot).text)
    return texts


@pytest.mark.timeout(300)
async def test_secrets_are_repeated_nowhere(host):
    words = canaries()
    await aside(
        host.inside, hide_secrets, place="default", words=words, port=NOBODY_LISTENS
    )
    token = await aside(host.inside, make_plugin_token, label="canary", plugins=["*"])
    async with RawPlugin(host.socket_url, token, name="canary") as plugin:
        secret = config_field("key", "") | {"type": "secret"}
        fields = [config_field("timeout", 60), secret]
        plugin.components = [runner_component("Runner", config=fields)]
        await plugin.handshake()
        runner = "plugin:raw/canary/default"
        await aside(host.wait_runner, runner)
        model = await aside(host.inside, canary_model)
        await aside(
            host.make_agent,
            "canary",
            runner,
            {"key": words["config"], "timeout": 60},
            resource_policy={"models": [model]},
        )
        await drive(host, plugin, words)
        texts = await aside(ask_rest, host, words)
    # A token that is wrong by its last letter is told and logged like any other.
    with pytest.raises(Exception, match="403"):
        async with RawPlugin(host.socket_url, token[:-1] + "!", name="canary"):
            pass
    await assert_hidden(host, [*words.values(), token], texts)


async def assert_hidden(host, words, texts):
    told = [text[:200] for text in texts if any(word in text for word in words)]
    assert told == []
    assert await aside(host.inside, rows_with, words=words) == []
    pages = await aside(host.inside, pages_with, words=words)
    assert pages["found"] == []
    assert pages["count"] > 35
    logs = await aside(host.processes.logs)
    assert [name for name, text in logs.items() if any(w in text for w in words)] == []
    assert {"web", "worker-1"} <= set(logs)


async def test_a_secret_in_the_open_would_be_seen(host):
    word = f"open-{uuid4().hex}"
    run_id = await aside(host.send, word)
    await aside(host.wait_run, run_id)
    assert await aside(host.inside, rows_with, words=[word])
    pages = await aside(host.inside, pages_with, words=[word])
    assert pages["found"]
