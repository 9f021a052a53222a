"""A ledger of any size in seconds: one row of each table, multiplied by the database.

Row `i` of every table belongs to run `i`. What is rare in a large installation is rare
here: failures, cancelled runs, labels, metadata, long ledgers, and what is under way.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.color import no_style
from django.db import connection
from django.db.models import Model

from langbot.core.models import Workspace
from platforms.models import Bot
from runners.ledger.metadata import digest_of
from runners.models import (
    AgentRun,
    Delivery,
    RunEvent,
    RunMetadata,
    TranscriptItem,
)
from tests.factories import AgentFactory, BotFactory, WorkspaceFactory
from tests.runners.admin_rows import make_run

AGENTS, BOTS = 1000, 20
PER_CONVERSATION = 10
SMALL = 1000  # every so many-th row is of the small workspace
LONG, MORE = 100, 20  # every so many-th run has so many more events
TICKET = 5000  # every so many-th run is about one ticket
_STEP_MS = 100  # between two rows
_PREFIX = "large-"

_SQLITE = {
    "uuid": "printf('%%012x', {ms}) || '7' || printf('%%03x', i %% 4096)"
    " || '8' || printf('%%015x', i)",
    "time": "strftime('%Y-%m-%d %H:%M:%f', {ms} / 1000.0, 'unixepoch')",
    "text": "CAST(i AS TEXT)",
    "json": "'{0}'",
}
_POSTGRESQL = {
    "uuid": "(lpad(to_hex(({ms})::bigint), 12, '0') || '7'"
    " || lpad(to_hex(i %% 4096), 3, '0') || '8' || lpad(to_hex(i), 15, '0'))::uuid",
    "time": "to_timestamp(({ms}) / 1000.0)",
    "text": "i::text",
    "json": "'{0}'::jsonb",
}


@dataclass(slots=True)
class Ledger:
    """What was made, and rows of it to look at."""

    rows: int
    workspace: Workspace
    small: Workspace
    bot: Bot
    agents: list[int]
    first: int  # key of the first multiplied run
    first_event: int = 0

    def run(self, number: int) -> AgentRun:
        """Return the run of a number from 0 on."""
        return AgentRun.objects.select_related("event", "conversation").get(
            pk=self.first + number
        )


def multiply(rows: int) -> Ledger:
    """Fill every table of the ledger with about this many rows."""
    workspace = WorkspaceFactory.create(slug="default")
    small = WorkspaceFactory.create(slug="small")
    agents = AgentFactory.create_batch(AGENTS, workspace=workspace)
    bots = BotFactory.create_batch(BOTS, workspace=workspace)
    run = make_run(agents[0], snapshot={"config": "x" * 500})
    with _bulk():
        _Multiplier(rows, run, small, agents[0].pk, bots).all_tables()
    with connection.cursor() as cursor:
        # As autovacuum does; SQLite stays without statistics.
        after = {"postgresql": "ANALYZE"} if connection.in_atomic_block else _SETTLED
        if connection.vendor in after:
            cursor.execute(after[connection.vendor])
    first = run.pk + 1
    keys = [agent.pk for agent in agents]
    return Ledger(rows, workspace, small, bots[0], keys, first, run.event_id + 1)


@contextmanager
def _bulk() -> Iterator[None]:
    """Build indexes after their rows, and trust our own references.

    Only for what is committed: a small ledger is rolled back with its test.
    """
    if connection.in_atomic_block:
        yield
        return
    with connection.cursor() as cursor:
        for statement in _BEFORE[connection.vendor]:
            cursor.execute(statement)
        cursor.execute(_INDEXES[connection.vendor])
        indexes = cursor.fetchall()
        for name, _sql in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
        yield
        for _name, sql in indexes:
            cursor.execute(sql)
        for statement in _AFTER[connection.vendor]:
            cursor.execute(statement)


# Indexes that no constraint owns, of the tables that grow.
_INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index'"
    " AND sql IS NOT NULL AND tbl_name LIKE 'langbot\\_runners\\_%' ESCAPE '\\'",
    "postgresql": "SELECT indexname, indexdef FROM pg_indexes"
    " WHERE tablename LIKE 'langbot\\_runners\\_%' AND NOT EXISTS"
    " (SELECT 1 FROM pg_constraint WHERE conname = indexname)",
}
_BEFORE = {
    "sqlite": [
        "PRAGMA synchronous = OFF",
        "PRAGMA cache_size = -500000",
        "PRAGMA foreign_keys = OFF",
    ],
    "postgresql": [
        "SET synchronous_commit = off",
        "SET maintenance_work_mem = '512MB'",
        "SET session_replication_role = replica",  # no check of references
    ],
}
_SETTLED = {
    "postgresql": "VACUUM ANALYZE",
    "sqlite": "PRAGMA wal_checkpoint(TRUNCATE)",
}
_AFTER = {
    "sqlite": [
        "PRAGMA synchronous = NORMAL",
        "PRAGMA cache_size = -2000",
        "PRAGMA foreign_keys = ON",
    ],
    "postgresql": [
        "RESET synchronous_commit",
        "RESET maintenance_work_mem",
        "RESET session_replication_role",
    ],
}


class _Multiplier:
    def __init__(
        self, rows: int, run: AgentRun, small: Workspace, agent: int, bots: list[Bot]
    ) -> None:
        self.rows, self.run, self.small, self.agent = rows, run, small, agent
        self.bots = bots
        self.words = _SQLITE if connection.vendor == "sqlite" else _POSTGRESQL
        now = datetime.now(UTC) - timedelta(milliseconds=_STEP_MS * rows)
        begin = int(now.timestamp() * 1000)
        self.ms = f"({begin} + i * {_STEP_MS})"

    def all_tables(self) -> None:
        run, conversation = self.run, self.run.conversation
        self.copy(
            conversation,
            rows=max(self.rows // PER_CONVERSATION, 1),
            key=self.named("key"),
            external_id=self.named("room"),
        )
        own: dict[str, Any] = {"conversation_id": self.conversation()}
        self.copy(
            run.event, event_id=self.named("event"), **own, **self.event_columns()
        )
        self.copy(run, **own, **self.run_columns())
        self.copy_of_runs(own)

    def copy_of_runs(self, own: dict[str, Any]) -> None:
        now = datetime.now(UTC)
        run, run_id = self.run, f"{self.run.pk} + i"
        event = RunEvent(run=run, seq=1, type="run.queued", created_at=now)
        event.save()
        self.copy(event, run_id=run_id)
        self.longer_ledgers(event)
        self.tickets()
        said = TranscriptItem(conversation=run.conversation, seq=0, role="user")
        said.text, said.run = "Hello there", run
        said.save()
        self.copy(said, seq="i", run_id=run_id, **own)
        delivery = Delivery(
            workspace=run.workspace,
            run=run,
            conversation=run.conversation,
            bot_id=self.bots[0].public_id,
            target="room|",
            payload={"text": "Hello"},
            status="delivered",
            next_attempt_at=now,
        )
        delivery.save()
        state = "CASE WHEN i %% 500 = 3 THEN 'failed' ELSE 'delivered' END"
        self.copy(
            delivery,
            run_id=run_id,
            status=state,
            idempotency_key=self.words["uuid"].format(ms=self.ms),
            platform_message_id=self.named("message"),
            **own,
        )

    def longer_ledgers(self, event: RunEvent) -> None:
        """Give some runs more events."""
        runs = self.rows // LONG
        self.copy(
            event,
            rows=runs * MORE,
            id=f"{event.pk} + {self.rows} + i",
            run_id=f"{self.run.pk} + {LONG} * (1 + (i - 1) %% {runs})",
            seq=f"2 + (i - 1) / {runs}",
            type="'message.delta'",
            data=self.words["json"].format('{"text": "some more of it "}'),
        )

    def tickets(self) -> None:
        """Note what the metadata says: a channel of half, a ticket of few."""
        for every, name, value in ((2, "channel", "shop"), (TICKET, "ticket", "7")):
            digest = digest_of(self.run.workspace_id, name, value)
            noted = RunMetadata(run=self.run, digest=digest)
            noted.save()
            self.copy(
                noted,
                rows=self.rows // every,
                run_id=f"{self.run.pk} + i * {every}",
            )

    def event_columns(self) -> dict[str, Any]:
        outcome = "CASE WHEN i %% 700 = 5 THEN 'ignored' ELSE 'started' END"
        return {
            "workspace_id": self.workspace(),
            "outcome": outcome,
            "bot_id": self.bot(),
        }

    def run_columns(self) -> dict[str, Any]:
        last = self.rows - 50  # what is under way
        status = (
            f"CASE WHEN i > {last} THEN 'queued' WHEN i %% 200 = 7 THEN 'failed'"
            " WHEN i %% 2000 = 9 THEN 'cancelled' ELSE 'completed' END"
        )
        some, none = (
            self.words["json"].format('["bug"]'),
            self.words["json"].format("[]"),
        )
        return {
            "event_id": f"{self.run.event_id} + i",
            "agent_id": f"{self.agent} + CASE WHEN i %% 2 = 0 THEN 0"
            f" ELSE i %% {AGENTS} END",
            "workspace_id": self.workspace(),
            "bot_id": self.bot(),
            "status": status,
            "finished_at": f"CASE WHEN i > {last} THEN NULL ELSE p.finished_at END",
            "error_code": "CASE WHEN i %% 200 = 7 THEN 'runner.error' ELSE '' END",
            "labels": f"CASE WHEN i %% 5000 = 11 THEN {some} ELSE {none} END",
            "metadata": self.metadata(),
            "last_seq": f"CASE WHEN i %% {LONG} = 0 THEN {MORE + 1} ELSE 1 END",
        }

    def metadata(self) -> str:
        ticket, shop, none = (
            self.words["json"].format(json)
            for json in (
                '{"channel": "shop", "ticket": 7}',
                '{"channel": "shop"}',
                "{}",
            )
        )
        return (
            f"CASE WHEN i %% {TICKET} = 0 THEN {ticket}"
            f" WHEN i %% 2 = 0 THEN {shop} ELSE {none} END"
        )

    def workspace(self) -> str:
        big = self.run.workspace_id
        return f"CASE WHEN i %% {SMALL} = 1 THEN {self.small.pk} ELSE {big} END"

    def conversation(self) -> str:
        return f"{self.run.conversation_id} + 1 + (i - 1) %% {self.conversations()}"

    def conversations(self) -> int:
        return max(self.rows // PER_CONVERSATION, 1)

    def bot(self) -> str:
        field = Bot._meta.get_field("public_id")
        values = [
            field.get_db_prep_value(bot.public_id, connection) for bot in self.bots
        ]
        parts = " ".join(f"WHEN {n} THEN '{value}'" for n, value in enumerate(values))
        kind = "" if connection.vendor == "sqlite" else "::uuid"
        return f"(CASE i %% {BOTS} {parts} END){kind}"

    def named(self, word: str) -> str:
        return f"'{_PREFIX}{word}-' || {self.words['text']}"

    def copy(self, row: Model, rows: int = 0, **columns: Any) -> None:
        """Insert copies of a row, with these columns as SQL of the number `i`."""
        meta = row._meta
        names = [field.column for field in meta.concrete_fields]
        own: dict[str, str] = {"id": f"{row.pk} + i", **columns}
        if "public_id" in names:
            own["public_id"] = self.words["uuid"].format(ms=self.ms)
        if "created_at" in names:
            own["created_at"] = self.words["time"].format(ms=self.ms)
        values = ", ".join(own.get(str(name), f'p."{name}"') for name in names)
        quoted = ", ".join(f'"{name}"' for name in names)
        table = meta.db_table
        sql = (  # names and numbers are this file's own
            "WITH RECURSIVE n(i) AS"  # noqa: S608
            " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %s)"
            f' INSERT INTO "{table}" ({quoted}) SELECT {values}'
            f' FROM n, "{table}" p WHERE p.id = %s'
        )
        with connection.cursor() as cursor:
            cursor.execute(sql, [rows or self.rows, row.pk])
            for reset in connection.ops.sequence_reset_sql(no_style(), [type(row)]):
                cursor.execute(reset)
