"""The plugin process as it is started in production."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.asyncio.server import serve

from runners.sdk.host import Settings
from runners.sdk.loading import SHIPPED, group, load_runners, select

ROOT = Path(__file__).parents[3]
SAMPLES = "tests.runners.sdk.sample_runners"


def environment(**variables):
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return kept | {"PYTHONPATH": str(ROOT)} | variables


@pytest.fixture
async def start(host, host_key):
    processes = []

    async def start(*arguments, **variables):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "runners.sdk",
            *arguments,
            cwd=ROOT,
            env=environment(RUNTIME_WS_URL=host.url, PLUGIN_DEBUG_KEY=host_key)
            | variables,
            stderr=subprocess.PIPE,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_the_plugin_process_never_loads_django():
    code = (
        "import sys, runners.sdk.host, runners.official.echo,"
        " runners.official.local_agent, runners.protocol.manifest;"
        "from runners.sdk.loading import SHIPPED, load_runners;"
        "assert len(load_runners(SHIPPED)) == len(SHIPPED);"
        "loaded = [name for name in sys.modules if name.split('.')[0] in"
        " ('django', 'langbot', 'agents', 'platforms', 'artifacts')];"
        "sys.exit(str(loaded) if loaded else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr


async def test_it_hosts_what_ships_and_what_is_named_and_stops_on_sigterm(host, start):
    named = f"{SAMPLES}.Talker, tests.runners.sdk.broken_runner.Broken, no.such.Thing"
    process = await start(LANGBOT_RUNNERS=named, LOG_JSON="true")
    sides = [await host.accepted() for _ in range(3)]
    containers = [await side.handshake() for side in sides]
    names = [c["manifest"]["manifest"]["metadata"]["name"] for c in containers]
    assert sorted(names) == ["echo", "local-agent", "sample"]
    side = sides[names.index("sample")]
    await side.results(await side.start(config={"words": 1}))
    process.send_signal(signal.SIGTERM)
    _, errors = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0, errors
    lines = [json.loads(line) for line in errors.splitlines()]
    refused = {line["path"]: line for line in lines if "path" in line}
    assert refused.keys() == {"tests.runners.sdk.broken_runner.Broken", "no.such.Thing"}
    assert (
        "no database today"
        in refused["tests.runners.sdk.broken_runner.Broken"]["exception"]
    )


async def test_only_hosts_only_the_named(host, start):
    await start("--only", "echo")
    await (await host.accepted()).handshake()
    await asyncio.sleep(0.3)
    assert host.sockets.empty()


async def test_it_waits_for_a_host_that_is_not_there_yet(host, start, unused_tcp_port):
    process = await start(RUNTIME_WS_URL=f"ws://127.0.0.1:{unused_tcp_port}/x")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(process.wait(), 1.5)
    process.send_signal(signal.SIGTERM)
    _, errors = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0
    assert b"plugin not connected" in errors


async def test_the_key_is_never_logged(host, start, host_key):
    process = await start(LOG_LEVEL="DEBUG")
    await (await host.accepted()).handshake()
    process.send_signal(signal.SIGTERM)
    _, errors = await asyncio.wait_for(process.communicate(), 10)
    assert host_key.encode() not in errors


@pytest.mark.parametrize(
    ("arguments", "variables", "reason"),
    [
        (["--only", "nobody"], {}, b"no runner is named 'nobody'"),
        ([], {"PLUGIN_DEBUG_KEY": ""}, b"PLUGIN_DEBUG_KEY"),
        ([], {"PLUGIN_DEBUG_KEY_FILE": "no-such-file"}, b"no-such-file"),
    ],
)
async def test_misuse_is_said_plainly(start, arguments, variables, reason):
    process = await start(*arguments, **variables)
    _, errors = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 2
    assert reason in errors
    assert b"Traceback" not in errors


def test_the_environment_names_url_key_and_runners(tmp_path):
    secret = tmp_path / "key"
    secret.write_text("from-file\n", encoding="utf-8")
    settings = Settings.from_environment(
        {
            "RUNTIME_WS_URL": "ws://a/",
            "DEBUG_RUNTIME_WS_URL": "ws://b/",
            "PLUGIN_DEBUG_KEY_FILE": str(secret),
            "LANGBOT_RUNNERS": "a.B, c.D,",
        }
    )
    assert settings.url == "ws://b/"
    assert settings.key == "from-file"
    assert settings.paths == (*SHIPPED, "a.B", "c.D")
    assert "from-file" not in repr(settings)


def test_without_a_url_it_connects_to_the_local_host():
    settings = Settings.from_environment({"PLUGIN_DEBUG_KEY": "k", "PORT": "9"})
    assert settings.url == "ws://127.0.0.1:9/ws/plugin/"


def test_it_finds_the_host_that_runs_on_the_same_data(tmp_path):
    environment = {"PLUGIN_DEBUG_KEY": "k", "LANGBOT_DATA_DIR": str(tmp_path)}
    usual = Settings.from_environment(environment)
    assert usual.url == "ws://127.0.0.1:8000/ws/plugin/"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "web.url").write_text("http://127.0.0.1:8123\n")
    found = Settings.from_environment(environment)
    assert found.url == "ws://127.0.0.1:8123/ws/plugin/"
    asked = Settings.from_environment({**environment, "PORT": "9"})
    assert asked.url == "ws://127.0.0.1:9/ws/plugin/"


async def test_a_refused_token_is_named(start):
    def refuse(connection, request):
        return connection.respond(HTTPStatus.FORBIDDEN, "")

    async def unreached(connection):
        raise AssertionError

    async with serve(unreached, "127.0.0.1", 0, process_request=refuse) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"ws://127.0.0.1:{port}/ws/plugin/"
        variables = {"DEBUG_RUNTIME_WS_URL": url, "PLUGIN_DEBUG_KEY": "wrong"}
        process = await start(**variables)
        async with asyncio.timeout(20):
            async for line in process.stderr:
                if b"plugin not connected" in line:
                    break
    assert b"the plugin token was refused" in line


def test_a_second_class_for_a_runner_id_is_refused(caplog):
    path = f"{SAMPLES}.Talker"
    same_id = f"{SAMPLES}.Twin"
    assert len(load_runners([path, path, same_id])) == 1
    assert "runner not loaded" in caplog.text


@pytest.mark.parametrize(
    "path", ["nodots", "os.path.join", "runners.sdk.Nothing", f"{SAMPLES}.Nameless"]
)
def test_what_is_no_usable_runner_is_refused(path):
    assert load_runners([path]) == []


def test_runners_of_one_plugin_share_a_connection():
    runners = load_runners([*SHIPPED, f"{SAMPLES}.Talker", f"{SAMPLES}.Odd"])
    plugins = group(runners)
    assert [plugin.name for plugin in plugins] == [
        "langbot/echo",
        "langbot/local-agent",
        "acme/sample",
    ]


@pytest.mark.parametrize(
    "name", ["echo", "langbot/echo", "plugin:langbot/echo/default"]
)
def test_a_runner_is_selected_by_any_of_its_names(name):
    (runner,) = select(load_runners(SHIPPED), [name])
    assert runner.plugin == "echo"


async def test_lines_look_like_those_of_the_host(host, start, unused_tcp_port):
    process = await start(RUNTIME_WS_URL=f"ws://127.0.0.1:{unused_tcp_port}/x")
    await asyncio.sleep(1.5)
    process.send_signal(signal.SIGTERM)
    _, errors = await asyncio.wait_for(process.communicate(), 10)
    first = errors.decode().splitlines()[0]
    line = r"[-\d]+T[:.\d]+Z \[warning  \] plugin not connected +\[runners.sdk.host\] "
    assert re.match(line + "plugin=langbot/", first), first
