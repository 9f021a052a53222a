"""A process that is suspended in a transaction holds its locks for 10 s at most."""

import signal
import subprocess
import sys
import time
from uuid import uuid4

import pytest
from django.db import connection

from langbot.lib.conf import limits
from langbot.lib.databases import IDLE_IN_TRANSACTION_SECONDS, database_from_url
from runners.ledger.claims import adopt_runs, start_node
from runners.models import RunEvent
from tests.runners.admin_rows import make_run
from tests.support.cluster import wait_until
from tests.support.ledger import TOKEN, begin

LATEST_SECONDS = 21.0  # lease + 15 s: what is not adopted by then has to have ended
BOUND = IDLE_IN_TRANSACTION_SECONDS
PLANS = "-c random_page_cost=1.1"


@pytest.fixture
def sleeper(process_environment):
    """Start a process that holds a run's row; it is ended by its id."""
    started = []

    def start(run):
        words = ["-m", "tests.support.sleeper", str(run.pk), str(TOKEN)]
        process = subprocess.Popen(
            [sys.executable, *words],
            env=process_environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def hear(process):
    return process.stdout.readline().strip()


def ask(process):
    process.stdin.write("\n")
    process.stdin.flush()
    return hear(process)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite cannot end a transaction"
)
def test_a_run_is_adopted_from_a_worker_that_sleeps_in_a_transaction(agent, sleeper):
    run, other = (begin(make_run(agent, "queued")) for _ in range(2))
    type(run).objects.update(node=uuid4())
    node = start_node("adopter").public_id
    asleep = sleeper(run)
    assert hear(asleep) == "locked"
    asleep.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    keys = [run.pk, other.pk]
    assert [one.run_id for one in adopt_runs(keys, node)] == [other.pk]
    assert time.monotonic() - begun < 1  # nobody waits for the sleeper
    wait_until(lambda: adopt_runs([run.pk], node), "it is adopted", 15)
    asleep.send_signal(signal.SIGCONT)
    assert ask(asleep) == "refused"
    assert ask(asleep) == "wrote 0"
    kinds = list(RunEvent.objects.filter(run=run).values_list("type", flat=True))
    assert kinds == ["run.adopted"]
    run.refresh_from_db()
    assert (run.node, run.fencing_token) == (node, TOKEN + 1)


def test_the_bound_is_beyond_every_lease_and_before_the_last_moment():
    assert limits().node_dead_seconds < BOUND
    assert BOUND + limits().adoption_seconds < LATEST_SECONDS


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", f"-c idle_in_transaction_session_timeout={BOUND}s {PLANS}"),
        ("?options=-c+lock_timeout%3D1s", "-c lock_timeout=1s"),
        ("?prepared_statements=0", None),
    ],
)
def test_one_may_set_other_options(query, expected):
    given = database_from_url(f"postgresql://me@here/db{query}")["OPTIONS"]
    assert given.get("options") == expected
