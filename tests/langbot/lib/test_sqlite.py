"""Writers of SQLite take turns quickly, and wait no longer than they may."""

import sqlite3
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.db.utils import ConnectionHandler

from langbot.lib.databases import sqlite_database
from langbot.lib.sqlite import base

HELD_SECONDS = 0.5
TRIES = 50  # SQLite itself asks 14 times in that time


@pytest.fixture
def database(tmp_path, django_db_blocker):
    """Return a connection of ours to a file of its own."""
    settings = sqlite_database(tmp_path / "some.sqlite3")
    handler = ConnectionHandler({"default": settings})
    ours = handler["default"]
    with django_db_blocker.unblock():
        ours.cursor().execute("CREATE TABLE note (number integer)")
        yield ours
        ours.close()


@pytest.fixture
def other(database):
    """Return a writer of another connection; it holds no lock yet."""
    session = sqlite3.connect(
        database.settings_dict["NAME"], isolation_level=None, check_same_thread=False
    )
    yield session
    session.close()


@pytest.fixture
def pauses(monkeypatch):
    """Count how often a cursor asks once more."""
    taken = []
    sleep = time.sleep

    def pause(seconds):
        taken.append(seconds)
        sleep(seconds)

    clock = SimpleNamespace(sleep=pause, monotonic=time.monotonic)
    monkeypatch.setattr(base, "time", clock)
    return taken


@pytest.mark.parametrize(
    "statement", ["BEGIN IMMEDIATE", "INSERT INTO note VALUES (1)"]
)
def test_a_writer_asks_often_while_another_one_writes(
    database, other, pauses, statement
):
    other.execute("BEGIN IMMEDIATE")
    ends = threading.Timer(HELD_SECONDS, other.execute, ["COMMIT"])
    ends.start()
    database.cursor().execute(statement)
    ends.join()
    assert len(pauses) > TRIES


def test_a_writer_gives_up_after_its_time(database, other):
    database.settings_dict["OPTIONS"]["timeout"] = 0.3
    other.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    with pytest.raises(OperationalError, match="locked"):
        database._start_transaction_under_autocommit()
    assert time.monotonic() - begun >= 0.3
    other.execute("COMMIT")
    database._start_transaction_under_autocommit()
    database.connection.execute("ROLLBACK")


def test_many_rows_from_an_iterator_are_all_written(database, other, pauses):
    other.execute("BEGIN IMMEDIATE")
    ends = threading.Timer(0.1, other.execute, ["COMMIT"])
    ends.start()
    rows = ((number,) for number in range(5))
    database.cursor().executemany("INSERT INTO note VALUES (%s)", rows)
    ends.join()
    assert pauses
    assert other.execute("SELECT count(*) FROM note").fetchone() == (5,)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's own errors")
@pytest.mark.django_db(transaction=True)
def test_other_errors_are_told_at_once():
    database: Any = connections["default"]
    with transaction.atomic():
        begun = time.monotonic()
        with pytest.raises(OperationalError, match="within a transaction"):
            database._start_transaction_under_autocommit()
        assert time.monotonic() - begun < 5
