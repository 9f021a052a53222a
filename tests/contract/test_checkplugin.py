"""`manage.py checkplugin` on what ships, and on plugins of released SDKs."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.support import runner_sources
from tests.support.sdk_environment import (
    SDK_VERSIONS,
    PluginProcess,
    generate_runner_plugin,
    sdk_environment,
    write_runner_source,
)

# The first of them waits for the host, too.
pytestmark = pytest.mark.timeout(300)

CHECKS = [
    "manifest",
    "config.refused",
    "message.answered",
    "results.valid",
    "results.streamed",
    "context.unknown_keys",
    "runs.concurrent",
    "cancel.ends",
    "cancel.connection_lives",
    "deadline.kept",
]


@pytest.fixture
def check(host):
    """Run the command on the shared host; returns its exit code, output and errors."""

    def check(plugin, *options):
        done = subprocess.run(
            [sys.executable, "manage.py", "checkplugin", plugin, *options],
            check=False,
            env=host.processes.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr

    return check


def verdicts(report, runner="default"):
    return {
        one["check"]: one["verdict"]
        for one in report["findings"]
        if one["runner"].endswith(f"/{runner}")
    }


def test_the_echo_that_ships_conforms(host, check):
    before = host.api("GET", "runs/", params={"limit": 200})["results"]
    code, output, _ = check("langbot/echo", "--json")
    report = json.loads(output)
    assert (code, report["conforms"], report["plugin"]) == (0, True, "langbot/echo")
    found = verdicts(report)
    assert list(found) == CHECKS
    instant = {"cancel.ends", "cancel.connection_lives", "deadline.kept"}
    skipped = {name for name, verdict in found.items() if verdict == "skipped"}
    assert skipped - instant == {"config.refused"}  # it has texts only
    after = host.api("GET", "runs/", params={"limit": 200})["results"]
    known = {run["id"] for run in before}
    made = [run for run in after if run["id"] not in known]
    assert {run["id"] for run in made} == {
        run for one in report["findings"] for run in one["runs"]
    }
    assert all(run["dry_run"] for run in made)
    agents = host.api("GET", "agents/", params={"limit": 200})["results"]
    assert made[0]["agent"] not in [agent["id"] for agent in agents]


def test_people_read_a_line_for_each_check(check):
    code, output, _ = check("langbot/echo")
    lines = output.splitlines()
    assert code == 0
    assert len(lines) == len(CHECKS) + 1
    assert lines[0].startswith("passed")
    assert "default  manifest: kind Runner" in lines[0]
    assert lines[-1].startswith("langbot/echo 0.1.0 conforms: ")


def test_an_unknown_plugin_is_said_with_the_known_ones(check):
    code, _, errors = check("acme/nobody")
    assert code == 1
    assert "there is no plugin acme/nobody; there are: " in errors
    assert "langbot/echo" in errors


@pytest.mark.parametrize("config", ["no json", "[]", '{"prefix": 7, "more": 1}'])
def test_settings_that_cannot_be_are_refused(check, config):
    code, output, errors = check("langbot/echo", "--config", config)
    assert code == 1
    assert "config" in output + errors


def test_required_settings_are_said_with_how_to_give_them(check):
    code, output, _ = check("langbot/local-agent")
    assert code == 1
    assert "This setting is required. Give settings with --config." in output


def test_a_question_is_an_answer_and_waits_for_nobody(host, check):
    token = host.plugin_token("asking", ("tests/load",))
    variables = {
        "DEBUG_RUNTIME_WS_URL": host.socket_url,
        "PLUGIN_DEBUG_KEY": token,
        "LANGBOT_RUNNERS": "tests.support.asking_runners.Questioning",
    }
    command = ("-m", "runners.sdk", "--only", "load")
    host.processes.start("asking", *command, variables=variables)
    host.wait_runner("plugin:tests/load/questioning")
    code, output, errors = check("tests/load", "--json")
    host.processes.end("asking")
    found = verdicts(json.loads(output), "questioning")
    assert code == 0, output + errors
    assert found["message.answered"] == "passed"
    assert found["results.streamed"] == "skipped"
    mine = json.loads(output)["findings"][2]["runs"][0]
    asked = host.api("GET", "actions/", params={"run": mine})["results"]
    assert [one["status"] for one in asked] == ["cancelled"]


@pytest.fixture(params=SDK_VERSIONS)
def connected(request, host, tmp_path):
    """Connect a generated plugin with this runner source; returns its name."""
    environment = sdk_environment(request.param)
    processes = []

    def connect(source, name):
        name = f"{name}-{request.param.replace('.', '-')}"
        folder = generate_runner_plugin(environment, tmp_path, "acme", name)
        write_runner_source(folder, source)
        token = host.plugin_token(name, (f"acme/{name}",))
        process = PluginProcess(environment, folder, host.socket_url, token)
        processes.append(process)
        process.start()
        host.wait_runner(f"plugin:acme/{name}/default")
        return f"acme/{name}"

    yield connect
    for process in processes:
        process.terminate()


@pytest.mark.sdk
@pytest.mark.timeout(900)
def test_a_plugin_of_the_sdk_conforms_in_everything(check, connected):
    # Generated manifests say that they stream, and this one does not.
    source = replace(runner_sources.waiting, capabilities={"streaming": False})
    plugin = connected(source, "checked")
    options = ("--message", "seconds=0.1", "--slow-message", "seconds=60")
    code, output, errors = check(plugin, *options, "--json")
    found = verdicts(json.loads(output))
    assert code == 0, output + errors
    skipped = {name for name, verdict in found.items() if verdict == "skipped"}
    assert skipped == {"results.streamed"}


@pytest.mark.sdk
@pytest.mark.timeout(900)
def test_a_plugin_that_sends_nonsense_does_not_conform(host, check, connected):
    plugin = connected(runner_sources.garbage, "nonsense")
    code, output, _ = check(plugin, "--json")
    report = json.loads(output)
    (found,) = [one for one in report["findings"] if one["check"] == "results.valid"]
    assert (code, report["conforms"], found["verdict"]) == (1, False, "failed")
    assert "unknown_result_type" in found["detail"]
    host.api("GET", f"runs/{found['runs'][0]}/")


@pytest.mark.sdk
@pytest.mark.timeout(900)
def test_a_plugin_that_is_gone_does_not_conform(host, check, connected, tmp_path):
    plugin = connected(runner_sources.streaming, "gone")
    host.inside(revoke, label=plugin.partition("/")[2])
    host.wait_runner(f"plugin:{plugin}/default", online=False)
    code, output, _ = check(plugin, "--json")
    (found,) = json.loads(output)["findings"]
    assert (code, found["check"], found["verdict"]) == (1, "manifest", "failed")


def revoke(label):
    from tests.support.host_rows import revoke_plugin_token

    return revoke_plugin_token(label)
