"""What the documents tell readers to type, typed.

Other examples: `test_rest.py`, `tests/embedding` and `tests/langbot/test_docs.py`.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.support.own_services import own_services
from tests.support.sdk_environment import NEWEST_SDK, sdk_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]
PYTHON = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
# The SDK's tools ask questions; each reads all of its input.
LBP = """#!/bin/sh
case $1 in
  init) printf 'acme\\nA plugin\\n' | {lbp} "$@" ;;
  comp) printf 'forecast\\nA runner\\n' | {lbp} "$@" ;;
  *) exec {lbp} "$@" ;;
esac
"""


def examples(document, heading):
    """The shell commands of one section, a script each."""
    section = (ROOT / "docs" / document).read_text().split(f"## {heading}\n")[1]
    return re.findall(r"```sh\n(.*?)```", section.split("\n## ")[0], re.DOTALL)


@pytest.fixture
def type_in(tmp_path):
    """Runs scripts in a folder like a fresh clone's, with the programs given to it."""
    programs, environment_of_make = tmp_path / "bin", tmp_path / ".venv" / "bin"
    for folder in (programs, environment_of_make):
        folder.mkdir(parents=True)
    (environment_of_make / "python").write_text(PYTHON)
    (environment_of_make / "python").chmod(0o755)
    (tmp_path / "manage.py").symlink_to(ROOT / "manage.py")
    running = []

    def start(script, environment, **files):
        for name, text in files.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        path = os.pathsep.join([str(programs), os.environ["PATH"]])
        # By it tests/environment.py knows a process of this test.
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env={
                **environment,
                "PATH": path,
                "LANG": "C.UTF-8",
                "PYTEST_XDIST_WORKER": worker,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=15)


def output_of(process):
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


def test_operators_bring_production_up(type_in, tmp_path):
    (script,) = examples("operations.md", "Production")
    production = {
        "SECRET_KEY": "a-Key.of_50-characters,that+nobody=can~guess:easily!0123",
        "LANGBOT_SECRET_KEYS": Fernet.generate_key().decode(),
        "LANGBOT_PUBLIC_URL": "https://agents.example.org",
        "LANGBOT_HTTPS": "true",
        "ALLOWED_HOSTS": "agents.example.org",
    }
    with own_services(tmp_path / "data") as services:
        environment = {**services, **production, "PYTHONPATH": str(ROOT)}
        output = output_of(type_in(script, environment))
    assert "https://agents.example.org/admin/" in output
    assert "no errors." in output
    found = set(re.findall(r"\(([\w.]+\.[EW]\d+)\)", output))
    assert found <= {"langbot.W003"}, output  # SQLite, on the half that has it


def test_a_system_calls_in_by_a_signed_webhook(host, type_in, tmp_path):
    (script,) = examples("webhooks.md", "An example")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/first-run.json").write_text(json.dumps(host.secrets))
    output = output_of(type_in(script, {"PORT": str(host.port)}))
    answer = json.loads(output[output.rindex('{"status"') :])
    assert (answer["status"], answer["duplicate"]) == ("started", False)
    assert host.wait_run(answer["run_id"])["status"] == "completed"
    assert host.reply(answer["run_id"]) == "You said: hello"


@pytest.mark.sdk
def test_plugin_authors_connect_a_plugin(host, type_in):
    make_token, connect = examples("plugins.md", "Connect one")
    (token,) = re.findall(
        r"lbp_[\w-]+", output_of(type_in(make_token, host.processes.environment))
    )
    script = connect.replace("<plugin token>", token).replace(
        ":8000/", f":{host.port}/"
    )
    lbp = LBP.format(lbp=sdk_environment(NEWEST_SDK).lbp)
    type_in(script, {"HOME": os.environ["HOME"]}, lbp=lbp)
    host.wait_runner("plugin:acme/weather/forecast")
    host.make_agent("documented-plugin", "plugin:acme/weather/forecast")
    run = host.ask("hello", "documented-plugin")
    assert host.reply(run["id"]) == "Received: hello"
