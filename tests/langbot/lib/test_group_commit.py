"""What comes while a transaction commits goes into the next one, or is done alone."""

import threading
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.utils.translation import get_language, override

from langbot.core.models import Workspace
from langbot.lib.group_commit import (
    GroupCommit,
    committed_together,
    each_thread_alone,
    own_transaction,
)
from tests.factories import WorkspaceFactory

WRITES = 7
SECONDS = 20  # far more than any of it takes

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def group():
    made = GroupCommit("test")
    yield made
    made.shutdown()


@contextmanager
def held(group):
    """Keep its thread busy, so that what comes meanwhile comes together."""
    begun, goes_on = threading.Event(), threading.Event()

    def hold():
        begun.set()
        assert goes_on.wait(SECONDS)

    group.submit((), hold)
    assert begun.wait(SECONDS)
    try:
        yield
    finally:
        goes_on.set()


class Notes:
    """Writes rows, and tells which of them were committed together."""

    def __init__(self):
        self.tried = []
        self.committed = []

    def write(self, slug):
        self.tried.append(slug)
        with own_transaction():
            row = WorkspaceFactory.create(slug=slug)
            transaction.on_commit(lambda: self.committed.append(slug))
        return row.pk

    def refuse(self, slug):
        with own_transaction():
            self.write(slug)
            raise LookupError(slug)


@pytest.fixture
def notes():
    return Notes()


def commits_of(monkeypatch):
    """Count the transactions that end well, of every thread."""
    commits = []
    database: Any = type(connections["default"])
    commit = database._commit

    def count(self):
        commits.append(threading.current_thread().name)
        return commit(self)

    monkeypatch.setattr(database, "_commit", count)
    return commits


def slugs():
    return set(Workspace.objects.values_list("slug", flat=True))


def test_what_comes_together_is_committed_together(group, notes, monkeypatch):
    commits = commits_of(monkeypatch)
    with held(group):
        asked = [group.submit((), notes.write, f"row-{n}") for n in range(WRITES)]
    keys = [one.result(SECONDS) for one in asked]
    assert len(commits) == 1
    assert slugs() >= {f"row-{n}" for n in range(WRITES)}
    assert Workspace.objects.filter(pk__in=keys).count() == WRITES
    assert notes.committed == [f"row-{n}" for n in range(WRITES)]


def test_rows_are_taken_in_the_order_of_their_places(group, notes):
    with held(group):
        asked = [group.submit((name,), notes.write, name) for name in "dbeac"]
    for one in asked:
        one.result(SECONDS)
    assert notes.tried == list("abcde")


def test_one_that_fails_takes_no_other_along(group, notes):
    with held(group):
        good = [group.submit((), notes.write, f"good-{n}") for n in range(WRITES)]
        bad = group.submit((), notes.refuse, "bad")
    assert all(one.result(SECONDS) for one in good)
    with pytest.raises(LookupError, match="bad"):
        bad.result(SECONDS)
    assert slugs() & {*notes.tried} == {f"good-{n}" for n in range(WRITES)}
    assert sorted(notes.committed) == [f"good-{n}" for n in range(WRITES)]


class Locked:
    """A database that takes no transaction, for as long as it is asked."""

    def __init__(self, monkeypatch):
        self.begun = 0
        database: Any = type(connections["default"])
        monkeypatch.setattr(database, "set_autocommit", self.refuse)

    def refuse(self, *args, **kwargs):
        self.begun += 1
        raise OperationalError("database is locked")


def test_a_locked_database_is_waited_for_once(group, notes, monkeypatch):
    many = 3 * 20  # transactions of them
    with held(group):
        asked = [group.submit((), notes.write, str(n)) for n in range(many)]
        locked = Locked(monkeypatch)
    errors = [one.exception(SECONDS) for one in asked]
    assert {type(error) for error in errors} == {OperationalError}
    assert len({id(error) for error in errors}) == many
    assert locked.begun == 1
    assert notes.tried == []


@pytest.mark.parametrize("error", [OperationalError("deadlock"), KeyboardInterrupt()])
def test_an_error_of_one_is_told_to_no_other(group, notes, error):
    def fail():
        raise error

    with held(group):
        good = group.submit((), notes.write, "good")
        bad = group.submit((), fail)
    assert good.result(SECONDS)
    assert type(bad.exception(SECONDS)) is type(error)


def test_a_failure_that_is_kept_is_found(group, notes):
    """Without a savepoint it undoes all, though nobody raises anything."""

    def keep():
        with suppress(LookupError):
            notes.refuse("kept")

    with held(group):
        asked = [group.submit((), notes.write, "other"), group.submit((), keep)]
    for one in asked:
        one.result(SECONDS)
    assert "other" in slugs()
    assert "kept" not in slugs()


def test_what_follows_a_commit_does_not_undo_it(group, notes):
    def follow():
        raise LookupError("after the commit")

    def write():
        with own_transaction():
            transaction.on_commit(follow)
            return notes.write("written")

    with held(group):
        asked = [group.submit((), write), group.submit((), notes.write, "other")]
    assert all(one.result(SECONDS) for one in asked)
    assert notes.tried == ["written", "other"]


def test_what_follows_a_commit_may_write():
    """In langbot_testing a run is carried out there, and may say something."""
    slugs_then = []

    @committed_together
    def again():
        slugs_then.append(WorkspaceFactory.create(slug="again").slug)

    @committed_together
    def first():
        transaction.on_commit(again)

    first()
    assert slugs_then == ["again"]


def test_what_nobody_waits_for_is_not_written(group, notes):
    with held(group):
        left, kept = (group.submit((), notes.write, slug) for slug in ("left", "kept"))
        assert left.cancel()
    kept.result(SECONDS)
    assert notes.tried == ["kept"]


def test_it_is_done_in_the_language_of_its_caller(group):
    with held(group), override("zh-hans"):
        asked = group.submit((), get_language)
    assert asked.result(SECONDS) == "zh-hans"


def test_on_sqlite_a_transaction_is_done_by_the_thread_of_all():
    @committed_together
    def thread():
        assert connection.in_atomic_block
        return threading.get_ident()

    assert (thread() == threading.get_ident()) == (connection.vendor != "sqlite")


def test_each_thread_may_write_alone():
    with each_thread_alone():
        assert committed_together(threading.get_ident)() == threading.get_ident()


def test_what_it_raises_undoes_it(notes):
    with pytest.raises(LookupError, match="bad"):
        committed_together(notes.refuse)("bad")
    assert "bad" not in slugs()


def test_a_part_of_a_transaction_stays_in_it(notes):
    class UndoneError(Exception):
        pass

    with pytest.raises(UndoneError), transaction.atomic():
        committed_together(notes.write)("undone")
        raise UndoneError
    assert "undone" not in slugs()
