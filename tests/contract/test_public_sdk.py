"""Plugins of the public SDK, generated and started by its own tools, on our host."""

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import runner_sources
from tests.support.host import RunningHost
from tests.support.runner_sources import config_field
from tests.support.sdk_environment import (
    SDK_VERSIONS,
    PluginProcess,
    SdkEnvironment,
    edited_yaml,
    generate_runner_plugin,
    sdk_environment,
    write_runner_source,
)

# Installing a version for the first time takes longer than a test otherwise may.
pytestmark = [pytest.mark.sdk, pytest.mark.timeout(900)]

WAITING = replace(
    runner_sources.waiting,
    config=[*runner_sources.waiting.config, config_field("timeout", 60)],
)
# `default` stays as it was generated.
BODIES = {
    "streaming": runner_sources.streaming,
    "waiting": WAITING,
    "calls": runner_sources.host_calls,
    "failing": runner_sources.failing,
    "garbage": runner_sources.garbage,
}


@dataclass(frozen=True, slots=True)
class GeneratedPlugin:
    """A generated plugin whose runners have an agent each, named by `agent`."""

    host: RunningHost
    environment: SdkEnvironment
    folder: Path
    process: PluginProcess

    @property
    def name(self) -> str:
        """Return the plugin's name, which tells the SDK version."""
        return self.folder.name

    def agent(self, runner: str) -> str:
        """Return the slug of the agent on this runner."""
        return f"{self.name}-{runner}"

    def runner_id(self, runner: str, plugin: str = "") -> str:
        """Return the id of one of its runners, or of a copy named `plugin`."""
        return f"plugin:acme/{plugin or self.name}/{runner}"

    def ask(self, runner: str, text: str) -> dict[str, Any]:
        """Have the runner answer `text` and return the run once it ended."""
        return self.host.ask(text, self.agent(runner))

    def copy(self, suffix: str) -> Path:
        """Return a copy of the plugin that has another name."""
        folder = self.folder.with_name(f"{self.name}-{suffix}")
        shutil.copytree(self.folder, folder)
        with edited_yaml(folder / "manifest.yaml") as manifest:
            manifest["metadata"]["name"] = folder.name
        return folder


@pytest.fixture(scope="module", params=SDK_VERSIONS)
def plugin(request, shared_host, tmp_path_factory) -> Iterator[GeneratedPlugin]:
    """One generated plugin for each SDK version, connected to the shared host."""
    environment = sdk_environment(request.param)
    target = tmp_path_factory.mktemp("sdk")
    name = f"generated-{request.param.replace('.', '-')}"
    runners = ["default", *BODIES]
    folder = generate_runner_plugin(environment, target, "acme", name, runners)
    for runner, source in BODIES.items():
        write_runner_source(folder, source, runner)
    token = shared_host.plugin_token(name, (f"acme/{name}",))
    process = PluginProcess(environment, folder, shared_host.socket_url, token)
    found = GeneratedPlugin(shared_host, environment, folder, process)
    with process:
        shared_host.wait_runner(found.runner_id("default"))
        for runner in runners:
            shared_host.make_agent(found.agent(runner), found.runner_id(runner))
        yield found


def test_generated_plugin_is_listed_and_answers(host, plugin):
    for name in ("default", *BODIES):
        runner = host.runner(plugin.runner_id(name))
        assert runner["online"], name
        assert runner["last_error"] == "", name
    assert runner["kind"] == "Runner"
    assert runner["plugin"] == f"acme/{plugin.name}"
    assert runner["version"] == "0.1.0"
    assert runner["label"]["en_US"] == "Garbage"
    run = plugin.ask("default", "hello host")
    assert run["status"] == "completed"
    assert host.reply(run["id"]) == "Received: hello host"


def test_schema_of_the_runner_checks_its_agents(host, plugin):
    runner = host.runner(plugin.runner_id("streaming"))
    names = [field["name"] for field in runner["config_schema"]]
    assert names == ["deltas", "width", "pause"]
    slug = plugin.agent("configured")
    agent = host.make_agent(slug, plugin.runner_id("streaming"), {"deltas": 2})
    assert agent["runner_config"] == {"deltas": 2, "width": 20, "pause": 0.0}
    run = host.ask("hello", slug)
    assert host.reply(run["id"]).count("part") == 2
    wrong = {"slug": slug, "name": slug, "runner": plugin.runner_id("streaming")}
    wrong["runner_config"] = {"deltas": "many"}
    answer = host.client.put(f"/api/v1/agents/by-slug/{slug}/", json=wrong)
    assert answer.status_code == 400


def test_streaming_runner_leaves_only_new_text_in_the_ledger(host, plugin):
    run = plugin.ask("streaming", "deltas=7 width=10 pause=0.02")
    assert run["status"] == "completed"
    events = host.events(run["id"])
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "run.queued"
    assert events[-1]["type"] == "run.completed"
    deltas = [e["data"]["text"] for e in events if e["type"] == "message.delta"]
    expected = "".join(f"part {number} ".ljust(10, ".") for number in range(7))
    assert "".join(deltas) == expected
    assert len(deltas) > 1
    assert host.reply(run["id"]) == expected


def test_host_calls_runner_gets_every_answer(host, plugin):
    run = plugin.ask("calls", "value=blue")
    expected = [
        "state_set ok",
        "state_get ok blue",
        "history_page ok 1",
        "get_prompt ok",
        "run_get ok running",
    ]
    assert host.reply(run["id"]) == "; ".join(expected)
    logs = host.events(run["id"], "processor.log")
    assert [log["data"]["text"] for log in logs] == expected


def test_host_calls_outside_the_rights_of_the_run_are_refused(host, plugin):
    slug = plugin.agent("stateless")
    policy = {"enabled": False}
    runner = plugin.runner_id("calls")
    host.make_agent(slug, runner, {"calls": "state_get,run_get"}, state_policy=policy)
    run = host.ask("hello", slug)
    assert "state_get refused" in host.reply(run["id"])
    assert "run_get ok" in host.reply(run["id"])


@pytest.mark.parametrize(
    ("how", "code", "retryable"),
    [("result", "test.failed", True), ("raise", "runner.exception", False)],
)
def test_failing_runner_leaves_what_it_said(host, plugin, how, code, retryable):
    run = plugin.ask("failing", f"how={how} deltas=2")
    assert (run["status"], run["error_code"]) == ("failed", code)
    assert run["retryable"] is retryable
    events = host.events(run["id"])
    assert events[-1]["type"] == "run.failed"
    assert events[-1]["data"]["code"] == code
    deltas = [e["data"]["text"] for e in events if e["type"] == "message.delta"]
    assert "".join(deltas) == "part part "


def test_garbage_runner_leaves_warnings_and_completes(host, plugin):
    run = plugin.ask("garbage", "count=3")
    assert run["status"] == "completed"
    assert host.reply(run["id"]) == "after the garbage"
    warnings = host.events(run["id"], "warning")
    found = [warning["data"]["code"] for warning in warnings]
    assert found.count("unknown_result_type") == 3
    assert found.count("runner.protocol_error") == 3
    assert found.count("invalid_result") == 3 * 5


def test_waiting_run_is_cancelled(host, plugin):
    run_id = host.send("seconds=60", plugin.agent("waiting"))
    host.wait_run(run_id, "running")
    began = time.monotonic()
    host.cancel(run_id)
    run = host.wait_run(run_id)
    assert (run["status"], run["error_code"]) == ("cancelled", "cancelled")
    assert time.monotonic() - began < 5
    (end,) = host.events(run_id, "run.failed")
    assert end["data"]["code"] == "cancelled"


def test_waiting_run_ends_at_its_deadline(host, plugin):
    slug = plugin.agent("late")
    host.make_agent(slug, plugin.runner_id("waiting"), {"seconds": 60, "timeout": 1})
    began = time.monotonic()
    run = host.ask("hello", slug)
    assert (run["status"], run["error_code"]) == ("timeout", "runner.timeout")
    assert run["retryable"]
    assert 0.9 < time.monotonic() - began < 6


def test_killed_plugin_comes_back_without_a_restart_of_the_host(host, plugin):
    run_id = host.send("seconds=60", plugin.agent("waiting"))
    host.wait_run(run_id, "running")
    plugin.process.kill()
    run = host.wait_run(run_id, timeout_seconds=10)
    assert (run["status"], run["error_code"]) == ("failed", "connection_lost")
    assert run["retryable"]
    host.wait_runner(plugin.runner_id("default"), online=False)
    waiting = host.send("are you back?", plugin.agent("default"))
    plugin.process.start()
    assert host.wait_run(waiting)["status"] == "completed"
    assert host.runner(plugin.runner_id("default"))["online"]
    assert host.reply(plugin.ask("default", "again")["id"]) == "Received: again"


def test_wrong_token_is_refused_and_the_process_tries_on(host, plugin):
    folder = plugin.copy("stranger")
    wrong = PluginProcess(plugin.environment, folder, host.socket_url, "w" * 40)
    with wrong:

        def has_tried_twice() -> bool:
            return len(re.findall(r"HTTP 403", wrong.output())) >= 2

        host.wait_for(has_tried_twice, "two tries")
        assert wrong.exit_code() is None
    assert host.runner(plugin.runner_id("default", folder.name)) is None
    assert plugin.ask("default", "hello")["status"] == "completed"


def test_agent_runner_on_a_released_sdk_is_listed_with_the_reason(host, plugin):
    folder = plugin.copy("source-era")
    old = folder / "components" / "agent_runner"
    old.mkdir()
    for suffix in (".py", ".yaml"):
        (folder / "components/runner/waiting").with_suffix(suffix).rename(
            (old / "waiting").with_suffix(suffix)
        )
    with edited_yaml(old / "waiting.yaml") as component:
        component["kind"] = "AgentRunner"
    with edited_yaml(folder / "manifest.yaml") as manifest:
        directories = {"fromDirs": [{"path": "components/agent_runner/"}]}
        manifest["spec"]["components"]["AgentRunner"] = directories
    token = host.plugin_token(folder.name)
    with PluginProcess(plugin.environment, folder, host.socket_url, token):
        host.wait_runner(plugin.runner_id("default", folder.name))
        refused = host.runner(plugin.runner_id("waiting", folder.name))
        assert not refused["online"]
        assert refused["kind"] == "AgentRunner"
        assert "run_agent" in refused["last_error"]
        for name in ("streaming", "calls"):
            assert host.runner(plugin.runner_id(name, folder.name))["online"]
        slug = plugin.agent("source-era")
        host.make_agent(slug, plugin.runner_id("default", folder.name))
        assert host.ask("hello", slug)["status"] == "completed"
