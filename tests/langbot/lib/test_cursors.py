"""A write whose cursor is kept does what one with a new cursor does."""

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from langbot.core.models import Workspace
from langbot.lib.cursors import _KEPT, _MOST, execute_returning, execute_write

pytestmark = pytest.mark.django_db

TABLE = Workspace._meta.db_table
RENAME = f"UPDATE {TABLE} SET name = %s WHERE id = %s"  # noqa: S608
COUNT_UP = f"UPDATE {TABLE} SET name = name WHERE id > %s RETURNING id"  # noqa: S608


def rename(workspace, name):
    written = execute_write(connection, RENAME, [name, workspace.pk])
    workspace.refresh_from_db()
    return written, workspace.name


def kept():
    return getattr(connection.connection, _KEPT, {})


def test_writes_take_turns(workspace):
    for name in ("one", "two", "three"):
        assert rename(workspace, name) == (1, name)
        rows = execute_returning(connection, COUNT_UP, [workspace.pk - 1])
        assert (workspace.pk,) in rows
        assert execute_returning(connection, COUNT_UP, [2**40]) == []
    if connection.vendor == "postgresql":
        before = kept()[RENAME]
        rename(workspace, "four")
        assert kept()[RENAME] is before


def test_a_write_is_good_after_it_failed(workspace):
    rename(workspace, "good")
    with pytest.raises(DatabaseError), transaction.atomic():
        execute_write(connection, RENAME, [None, workspace.pk])
    assert rename(workspace, "better") == (1, "better")


def test_writes_are_logged(workspace):
    rename(workspace, "quiet")
    with CaptureQueriesContext(connection) as queries:
        execute_write(connection, RENAME, ["loud", workspace.pk])
    assert ["loud" in one["sql"] for one in queries.captured_queries] == [True]


def test_a_session_keeps_so_many(workspace):
    for number in range(_MOST + 2):
        sql = f"{RENAME} AND id <> -{number + 1}"
        assert execute_write(connection, sql, ["many", workspace.pk]) == 1
    assert len(kept()) <= _MOST
    assert rename(workspace, "still") == (1, "still")


@pytest.mark.django_db(transaction=True)
def test_a_lost_session_is_told_as_django_does_and_replaced(workspace):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no session to lose")
    rename(workspace, "before")
    connection.connection.pgconn.finish()
    with pytest.raises(OperationalError):
        execute_write(connection, RENAME, ["lost", workspace.pk])
    connection.close()
    assert rename(workspace, "after") == (1, "after")
