"""Every host call, made through the proxies of released SDKs, on a real host."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.contract.probe import providers, record
from tests.support.host import RunningHost
from tests.support.host_rows import make_demo_models
from tests.support.runner_sources import RunnerSource, config_field
from tests.support.sdk_environment import (
    PROBED_SDK_VERSIONS,
    PluginProcess,
    generate_runner_plugin,
    sdk_environment,
    write_runner_source,
)

TEXT = "今天天气怎么样"
# Each ends its run, so it gets one of its own.
ENDING = ("run_cancel", "run_finalize")
SETTINGS = ("calls", "llm", "embedding", "rerank", "knowledge", "bot", "prompt")
SOURCE = RunnerSource(
    code=record.SOURCE.read_text(encoding="utf-8"),
    config=[config_field(name, "") for name in SETTINGS],
    permissions={
        "models": ["invoke", "stream", "rerank", "count_tokens"],
        "tools": ["detail", "call"],
        "knowledge_bases": ["list", "retrieve"],
        "history": ["page", "search"],
        "events": ["get", "page"],
        "storage": ["plugin", "workspace"],
    },
    capabilities={"tool_calling": True, "knowledge_retrieval": True, "steering": True},
)


@dataclass(frozen=True, slots=True)
class Probe:
    """A connected probe of one SDK version, and the models it may use."""

    host: RunningHost
    version: str
    runner: str
    models: dict[str, str]
    process: PluginProcess

    @property
    def slug(self) -> str:
        """Return the slug of its agent, which is the plugin's name."""
        return self.runner.split("/")[1]

    def start(self, *calls: str) -> tuple[str, str]:
        """Start a run that makes these calls; returns its conversation and id."""
        policy = {
            "models": list(self.models.values()),
            "tools": [*providers.TOOLS, "platform_get_user", "platform_send_message"],
            "knowledge_bases": [providers.BASE],
            "workspace_storage": True,
        }
        config = {
            **self.models,
            "calls": ",".join(calls),
            "knowledge": providers.BASE,
            "bot": providers.BOT,
            "prompt": "Be a probe.",
        }
        self.host.make_agent(self.slug, self.runner, config, resource_policy=policy)
        conversation = self.host.api("POST", "conversations/", json={})["id"]
        files = {"file": ("notes.txt", b"hello", "text/plain")}
        artifact = self.host.api("POST", "artifacts/", files=files)["id"]
        body = {"text": TEXT, "agent": self.slug, "files": [artifact]}
        path = f"conversations/{conversation}/messages/"
        return conversation, self.host.api("POST", path, json=body)["run_id"]

    def answers(self, run: dict[str, Any]) -> dict[str, str]:
        """Return what a completed run says of its calls, and keep it."""
        assert run["status"] == "completed", run
        found = dict(json.loads(self.host.reply(run["id"])))
        record.keep(self.version, found)
        return found


@pytest.fixture(scope="module")
def probed_host() -> Iterator[RunningHost]:
    """A host with the providers of the probe."""
    with RunningHost(plugins=False, variables={"TEST_APPS": providers.APP}) as host:
        yield host
        assert not host.processes.dead(), host.output()
        host.assert_no_tracebacks()


@pytest.fixture(scope="module", params=PROBED_SDK_VERSIONS)
def probe(request, probed_host, tmp_path_factory) -> Iterator[Probe]:
    environment = sdk_environment(request.param)
    name = f"probe-{request.param.replace('.', '-')}"
    target = tmp_path_factory.mktemp("sdk")
    folder = generate_runner_plugin(environment, target, "acme", name)
    write_runner_source(folder, SOURCE)
    token = probed_host.plugin_token(name, (f"acme/{name}",))
    models = probed_host.inside(make_demo_models, name=name)
    process = PluginProcess(environment, folder, probed_host.socket_url, token)
    with process:
        runner = f"plugin:acme/{name}/default"
        probed_host.wait_runner(runner)
        yield Probe(probed_host, request.param, runner, models, process)


def test_every_handled_call_is_probed():
    assert record.handled_calls() <= set(record.probed_calls())


def test_the_documented_list_of_calls_is_current():
    rows = record.documented()
    expected = record.handled_calls() & set(record.probed_calls())
    missing = "run pytest tests/contract/test_probe.py and tests.contract.probe.record"
    assert set(rows) == expected, missing
    for name, (checks, *answers, day) in rows.items():
        assert checks == record.probed_calls()[name], missing
        assert answers == ["yes"] * len(PROBED_SDK_VERSIONS), name
        assert len(day) == len("2026-01-01"), name


@pytest.mark.sdk
@pytest.mark.timeout(900)
def test_every_call_is_answered(probe):
    calls = sorted(record.handled_calls() - {*ENDING, "steering_pull"})
    _, run_id = probe.start(*calls)
    found = probe.answers(probe.host.wait_run(run_id, timeout_seconds=60))
    assert found == dict.fromkeys(calls, "ok")


@pytest.mark.sdk
@pytest.mark.timeout(900)
def test_steering_reaches_the_run(probe):
    if "steering_pull" not in record.handled_calls():
        pytest.skip("the host does not answer steering_pull")
    conversation, run_id = probe.start("steering_pull")
    probe.host.wait_for(
        lambda: probe.host.events(run_id, "processor.log"), "the probe's wait"
    )
    path = f"conversations/{conversation}/messages/"
    probe.host.api("POST", path, json={"text": "turn left", "agent": probe.slug})
    assert probe.answers(probe.host.wait_run(run_id)) == {"steering_pull": "ok"}


@pytest.mark.sdk
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("call", "status"), [("run_cancel", "cancelled"), ("run_finalize", "completed")]
)
def test_a_call_that_ends_its_run_is_answered(probe, call, status):
    if call not in record.handled_calls():
        pytest.skip(f"the host does not answer {call}")
    _, run_id = probe.start(call)
    run = probe.host.wait_run(run_id)
    assert run["status"] == status
    word = f"probe: {run_id} {call} "
    probe.host.wait_for(lambda: word in probe.process.output(), "its answer")
    assert f"{word}ok" in probe.process.output(), probe.process.output()
    record.keep(probe.version, {call: "ok"})


def test_the_table_tells_what_failed():
    found = {
        "0.7.18": {"state_get": ["ok", "2026-02-02"]},
        "0.6.1": {"state_get": ["not_found: gone", "2026-01-01"]},
    }
    text = record.table(found, {"state_get"})
    assert text.splitlines()[-1] == (
        "| `state_get` | What was set, null for what was not"
        " | yes | not_found: gone | 2026-01-01 |"
    )
