"""Redis away for a minute, PostgreSQL restarted: nothing that was accepted is lost."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from langbot.valkey import Valkey
from tests.support.cluster import free_port, wait_until
from tests.support.host import RunningHost

DOWN_SECONDS = 60.0
DRAINED_SECONDS = 30.0

pytestmark = [pytest.mark.timeout(600)]


class Senders:
    """Sends events over REST as long as it is asked to; keeps what was accepted."""

    def __init__(self, host):
        self.host = host
        self.accepted = []
        self.refused = 0

    def send(self):
        number = len(self.accepted) + self.refused
        body = {
            "type": "message.received",
            "bot": "web",
            "conversation": f"place-{number}",
            "input": {"text": f"hello {number}"},
        }
        try:
            answer = self.host.client.post("/api/v1/events/", json=body)
        except httpx2.TransportError:
            self.refused += 1
            return
        if answer.status_code == 202:
            self.accepted.append(answer.json()["run_id"])
        else:
            assert answer.status_code == 503, answer.text
            self.refused += 1

    def send_for(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.send()
            time.sleep(0.2)

    def open(self):
        """Return the accepted runs that have not ended."""
        runs = map(self.host.run_of, self.accepted)
        return [run for run in runs if run["finished_at"] is None]

    def drained_after(self):
        """Return the seconds until all that was accepted has ended."""
        return wait_until(lambda: not self.open(), "the backlog is drained", 120)

    def check(self):
        ended = [self.host.run_of(run) for run in self.accepted]
        assert {run["status"] for run in ended} == {"completed"}
        for run in self.accepted:
            kinds = [event["type"] for event in self.host.events(run)]
            assert kinds.count("run.completed") == 1
            seqs = [event["seq"] for event in self.host.events(run)]
            assert seqs == list(range(1, len(seqs) + 1))


def test_redis_away_for_a_minute_loses_no_accepted_event(record):
    with (
        Valkey() as redis,
        RunningHost(workers=2, variables={"REDIS_URL": redis.url}) as host,
    ):
        senders = Senders(host)
        senders.send_for(3)
        kill(redis)
        senders.send_for(DOWN_SECONDS)
        redis.start()
        seconds = senders.drained_after()
        record("accepted", len(senders.accepted))
        record("drained after", seconds)
        senders.check()
        assert senders.refused == 0
        assert seconds <= DRAINED_SECONDS


def kill(redis):
    """End the server at once; it keeps nothing."""
    assert redis.process is not None
    redis.process.kill()
    redis.process.wait()


def postgres_programs():
    """Return the folder of PostgreSQL's programs, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    return found[-1].parent if found else None


def someone():
    """Return whom PostgreSQL may run as: it refuses root."""
    if os.getuid():
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("PostgreSQL does not run as root, and there is nobody else")


class Postgres:
    """A PostgreSQL of the test's own, on a port of its own."""

    def __init__(self, folder, programs, user):
        self.folder, self.programs, self.user = folder, programs, user
        self.port = free_port()
        self.url = f"postgresql://tests@127.0.0.1:{self.port}/postgres"

    def run(self, program, *words):
        done = subprocess.run(
            [self.programs / program, *words],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            user=self.user.pw_uid if self.user else None,
            group=self.user.pw_gid if self.user else None,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self):
        data, log = self.folder / "data", self.folder / "log"
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        self.run("pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "start")

    def stop(self, mode):
        self.run("pg_ctl", "-D", self.folder / "data", "-m", mode, "-w", "stop")


@contextmanager
def own_postgres():
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server programs are not installed")
    user = someone()
    folder = Path(tempfile.mkdtemp(prefix="langbot-pg-"))
    server = Postgres(folder, programs, user)
    try:
        if user:
            os.chown(folder, user.pw_uid, user.pw_gid)
        words = ["-D", folder / "data", "-U", "tests", "--auth=trust", "-E", "UTF8"]
        server.run("initdb", *words)
        server.start()
        yield server
        server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_of_postgresql_loses_no_accepted_event(mode, record):
    with (
        own_postgres() as server,
        RunningHost(workers=2, variables={"DATABASE_URL": server.url}) as host,
    ):
        senders = Senders(host)
        senders.send_for(3)
        server.stop(mode)
        senders.send_for(5)
        server.start()
        senders.send_for(2)
        seconds = senders.drained_after()
        record("accepted", len(senders.accepted))
        record("refused meanwhile", senders.refused)
        record("drained after", seconds)
        senders.check()
        assert seconds <= DRAINED_SECONDS
