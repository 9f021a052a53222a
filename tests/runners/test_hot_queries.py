"""What workers and admissions ask all day goes by an index, however many runs ended."""

import re
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.db import connection

from platforms.outbox import due, following
from runners.busy import is_busy
from runners.engine.adoption import finish_stuck_cancels
from runners.engine.engine import cancelled_runs
from runners.engine.starter import queued_ids
from runners.ledger import claims
from runners.ledger.finishing import _waiting_messages
from runners.ledger.positions import ended_among
from runners.models import AgentRun, Delivery
from tests.runners.test_admin_large import BIG, plan_of, statements
from tests.support.large_ledger import multiply

ROWS = 10_000
TABLES = "|".join((*BIG, "langbot_runners_queuedmessage"))


@pytest.fixture
def ledger(db):
    made = multiply(ROWS)
    room = made.run(ROWS - 2).conversation
    AgentRun.objects.filter(conversation=room, status="queued").update(
        cancel_requested_at=datetime.now(UTC), status="running", node=uuid4()
    )
    return made


def asked(ledger):
    """Return what is asked, by name."""
    room, node = ledger.run(ROWS - 2).conversation, uuid4()
    delivery = Delivery.objects.order_by("pk")[0]
    return {
        "live": AgentRun.objects.live().count,
        "busy": lambda: is_busy(room),
        "queued_ids": lambda: queued_ids(200),
        "adoptable": lambda: claims.adoptable_runs(100),
        "adopt": lambda: claims.adopt_runs([ledger.first + 1], node),
        "carried": lambda: claims.carried_runs(node),
        "release all": lambda: claims.release_runs(node),
        "release": lambda: claims.release_runs(node, [ledger.first + 1]),
        "cancelled": lambda: cancelled_runs(node),
        "stuck cancels": finish_stuck_cancels,
        "ended among": lambda: ended_among([ledger.first + 1]),
        "queue": lambda: room.queue.waiting().count(),
        "promotion": lambda: _waiting_messages([room.pk, room.pk + 1]),
        "due": due,
        "following": lambda: following(delivery),
    }


def whole_tables(plan):
    """Return the lines of a plan that visit more rows than a condition selects."""
    if connection.vendor == "sqlite":
        # A walk along a partial index is short; `rowid<?` is the whole history.
        whole = rf"SCAN ({TABLES}|U\d+)$|INTEGER PRIMARY KEY \(rowid[<>]"
    else:
        whole = rf"Seq Scan on ({TABLES})\b|Scan .*using \w+_pkey.*\(cost(?!.*rows=1 )"
    return [line for line in plan if re.search(whole, line)]


def test_nothing_reads_all_runs(ledger):
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # 10,000 rows are read as a whole for good reason; ask what could be.
            cursor.execute("SET LOCAL enable_seqscan = off")
    problems = []
    for name, ask in asked(ledger).items():
        with statements() as found:
            ask()
        for sql, parameters in found:
            lines = whole_tables(plan_of(sql, parameters)) if is_read(sql) else []
            problems += [f"{name}: {line}: {sql[-300:]}" for line in lines]
    assert not problems, "\n".join(problems)


def is_read(sql):
    return sql.lstrip().startswith(("SELECT", "UPDATE"))


@pytest.mark.parametrize("name", ["live", "busy", "queued_ids", "adoptable"])
def test_statuses_stand_in_the_statement(ledger, name):
    """A generic plan of PostgreSQL proves no partial index from a parameter."""
    with statements() as found:
        asked(ledger)[name]()
    words = {"created", "queued", "running", "requires_action"}
    for _sql, parameters in found:
        assert not words & {str(one) for one in parameters or ()}
