"""The supervisor with real children: it restarts them and leaves none behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest

from langbot.env import Environment

ROOT = Path(__file__).resolve().parents[2]
SLEEP = "sleeper=import time; print('ready'); time.sleep(600)"
STUBBORN = (
    "stubborn=import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('ready'); time.sleep(600)"
)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Supervised:
    def __init__(self, data_dir, port, *scripts):
        command = [sys.executable, "-m", "tests.langbot.supervised"]
        self.process = subprocess.Popen(
            [*command, str(data_dir), str(port), *scripts],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output: Iterable[str] = self.process.stdout or []
        self.lines = []

    def read_until(self, text):
        for line in self.output:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError("".join(self.lines))

    def children(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self):
        self.process.terminate()
        self.process.communicate(timeout=10)


@pytest.fixture
def supervise(tmp_path):
    running = []

    def start(*scripts, port=None):
        running.append(
            Supervised(tmp_path, free_port() if port is None else port, *scripts)
        )
        return running[-1]

    yield start
    for one in running:
        one.end()


def wait_gone(processes, seconds=3):
    _, alive = psutil.wait_procs(processes, seconds)
    return not alive


def socket_path(data_dir):
    url = (data_dir / "run" / "redis.url").read_text()
    return Path(url.removeprefix("unix://").partition("?")[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything_and_cleans_up(supervise, tmp_path, number):
    supervised = supervise(SLEEP)
    supervised.read_until("sleeper    ready")
    children = supervised.children()
    folder = socket_path(tmp_path).parent
    assert len(children) == 2
    assert socket_path(tmp_path).is_socket()
    supervised.process.send_signal(number)
    assert supervised.process.wait(5) == 0
    assert wait_gone(children, 0.1)
    assert not folder.exists()
    assert not (tmp_path / "run" / "redis.url").exists()


def test_a_child_that_ignores_term_is_killed(supervise):
    supervised = supervise(STUBBORN, SLEEP)
    supervised.read_until("stubborn   ready")
    children = supervised.children()
    supervised.process.terminate()
    assert supervised.process.wait(5) == 0
    assert wait_gone(children, 0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_no_child_outlives_a_killed_supervisor(supervise, tmp_path):
    for _ in range(5):
        supervised = supervise(SLEEP, STUBBORN)
        supervised.read_until("stubborn   ready")
        children = supervised.children()
        folder = socket_path(tmp_path).parent
        assert len(children) == 3
        supervised.process.kill()
        assert wait_gone(children)
        assert folder.exists()
    supervise(SLEEP).read_until("sleeper    ready")
    assert not folder.exists(), "the next start removes what was left"


def test_a_child_that_dies_is_started_again_later_and_later(supervise):
    supervised = supervise("short=import sys; print('alive'); sys.exit(3)")
    waits = [supervised.read_until("short ended (3)") for _ in range(3)]
    assert [line.split()[-2] for line in waits] == ["0", "0.5", "1"]


def test_valkey_comes_back_on_the_same_socket(supervise, tmp_path):
    supervised = supervise(SLEEP)
    supervised.read_until("ready")
    [valkey] = [one for one in supervised.children() if "valkey" in one.name()]
    path = socket_path(tmp_path)
    valkey.kill()
    supervised.read_until("valkey ended (-9)")
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(path))
                break
            except OSError:
                time.sleep(0.02)
    else:
        pytest.fail("valkey is not back")


def test_a_second_start_on_the_same_data_is_refused(supervise):
    first = supervise(SLEEP)
    first.read_until("ready")
    second = supervise(SLEEP)
    assert "another runlangbot uses" in second.read_until("runlangbot:")
    assert second.process.wait(5) == 1
    assert first.process.poll() is None
    assert len(first.children()) == 2


def test_a_taken_port_is_named(supervise):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        supervised = supervise(SLEEP, port=port)
        line = supervised.read_until("runlangbot:")
    assert f"port {port}" in line
    assert "Set another PORT" in line
    assert supervised.process.wait(5) == 1
    assert len(supervised.lines) == 1


def test_the_supervisor_stays_small(supervise):
    supervised = supervise(SLEEP)
    supervised.read_until("ready")
    memory = psutil.Process(supervised.process.pid).memory_info().rss
    assert memory < 24 * 2**20


def test_what_a_child_says_is_kept_and_where_the_web_is(supervise, tmp_path):
    talker = "talker=import os; print('PORT', os.environ['PORT']); 1/0"
    supervised = supervise(talker, port="0")
    url = supervised.read_until("starts on").split()[3].rstrip(",")
    assert url == (tmp_path / "run" / "web.url").read_text()
    port = supervised.read_until("PORT").split()[-1]
    assert int(port) > 0
    assert url == f"http://127.0.0.1:{port}"
    supervised.read_until("ZeroDivisionError")
    supervised.read_until("talker ended")  # the line is in the file by then
    (log,) = (tmp_path / "logs").glob("talker-*.log")
    assert "ZeroDivisionError: division by zero\n" in log.read_text()
    supervised.end()
    assert not (tmp_path / "run" / "web.url").exists()


def test_plugins_are_not_given_the_hosts_secrets():
    script = (
        "import json, os; from langbot.supervisor import plugin_environment; "
        "print(json.dumps(sorted(plugin_environment(dict(os.environ)))))"
    )
    known = [name.upper() for name in Environment.model_fields]
    parts = ("SECRET", "KEY", "URL", "TOKEN", "PASSWORD")
    secret = [name for name in known if any(part in name for part in parts)]
    assert {"DATABASE_URL", "SECRET_KEY", "OPENAI_API_KEY"} <= set(secret)
    secret += [f"{name}_FILE" for name in secret] + ["AWS_SECRET_ACCESS_KEY"]
    needed = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "https_proxy": "x"}
    needed |= {"LANGBOT_RUNNERS": "a.b", "LOG_LEVEL": "DEBUG", "SSL_CERT_FILE": "x"}
    environment = {**os.environ, **dict.fromkeys(secret, "x"), **needed}
    command = [sys.executable, "-c", script]
    answer = subprocess.check_output(command, env=environment, cwd=ROOT)
    names = json.loads(answer)
    assert set(needed) <= set(names)
    assert not set(secret) & set(names)


def test_a_long_temporary_folder_gives_a_short_socket_path(tmp_path, monkeypatch):
    from langbot import valkey

    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with valkey.Valkey() as server:
        assert len(os.fsencode(server.socket_path)) <= valkey.SOCKET_PATH_BYTES
        assert server.folder.stat().st_mode & 0o777 == 0o700
        assert valkey.answers(server.socket_path)
    assert not server.folder.exists()
    assert list(long.iterdir()) == []


def test_valkey_refuses_writes_when_full_and_stores_nothing():
    import redis

    from langbot import valkey

    with valkey.Valkey() as server:
        client = redis.Redis.from_url(server.url)
        assert client.config_get("maxmemory")["maxmemory"] == str(256 * 2**20)
        assert client.config_get("maxmemory-policy") == {
            "maxmemory-policy": "noeviction"
        }
        client.set("key", "value")
        files = [path.name for path in server.folder.iterdir()]
    assert files == [valkey.SOCKET_NAME]
