"""Prepared statements give what the ORM gives, on every thread."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import BigIntegerField, CharField, F, UUIDField
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from agents.models import Agent
from langbot.core.models import Workspace
from langbot.lib.models import locking
from langbot.lib.prepared import (
    Literal,
    PreparedInsert,
    PreparedLookup,
    PreparedQuery,
    PreparedUpdate,
)
from runners.models import AgentRun, Conversation, RunEvent, RunnerState
from tests.runners.admin_rows import make_run

pytestmark = pytest.mark.django_db

_runs_of = PreparedQuery(
    lambda agent: (
        AgentRun.objects.select_related("event", "agent", "binding")
        .filter(agent=agent)
        .order_by("pk")
    ),
    BigIntegerField(),
)
_lookup = PreparedLookup(
    lambda keys: AgentRun.objects.filter(pk__in=keys).order_by("pk")
)


def fields_of(row):
    loaded = row.get_deferred_fields()
    return {
        field.attname: getattr(row, field.attname)
        for field in row._meta.concrete_fields
        if field.attname not in loaded
    }


def conversation(workspace, key):
    return Conversation(workspace=workspace, key=key, title="a title")


# Queries


def test_rows_are_those_of_the_orm(agent):
    values = {"metadata": {"a": [1, None, "ü"]}, "usage": None, "bot_id": uuid4()}
    made = make_run(agent, status="running", snapshot={"x": "y"}, **values)
    for _ in range(3):
        (row,) = _runs_of(agent.pk)
        expected = AgentRun.objects.get(pk=made.pk)
        assert fields_of(row) == fields_of(expected)
        assert isinstance(row.public_id, UUID)
        assert row.created_at.tzinfo is not None
        assert (row._state.db, row._state.adding) == ("default", False)
    assert _runs_of(0) == []
    assert _runs_of.first(0) is None
    assert _runs_of.first(agent.pk) == made


def test_related_rows_come_with_it(agent):
    make_run(agent)
    _runs_of(agent.pk)
    with CaptureQueriesContext(connection) as queries:
        (row,) = _runs_of(agent.pk)
        assert row.event.input == {"text": "Hello there"}
        assert row.agent.slug == agent.slug
        assert row.binding is None
    assert len(queries) == 1


@pytest.mark.parametrize("narrow", ["only", "defer"])
def test_deferred_columns_are_fetched_when_asked_for(agent, narrow):
    make_run(agent, snapshot={"x": 1})

    def build(pk):
        rows = AgentRun.objects.select_related("event").filter(agent=pk)
        if narrow == "only":
            return rows.only("status", "event__input")
        return rows.defer("snapshot", "event__data")

    (row,) = PreparedQuery(build, BigIntegerField())(agent.pk)
    assert "snapshot" in row.get_deferred_fields()
    with CaptureQueriesContext(connection) as queries:
        assert (row.status, row.event.input["text"]) == ("completed", "Hello there")
    assert len(queries) == 0
    assert row.snapshot == {"x": 1}


def test_values_lists_are_converted_tuples(agent):
    made = make_run(agent, metadata={"a": 1})
    query = PreparedQuery(
        lambda public_id: AgentRun.objects.filter(public_id=public_id).values_list(
            "pk", "public_id", "metadata", "queued_at", "event__input"
        ),
        UUIDField(),
    )
    given = {"text": "Hello there"}
    expected = (made.pk, made.public_id, {"a": 1}, made.queued_at, given)
    assert query(made.public_id) == [expected]
    assert query(str(made.public_id)) == [expected]  # as the field converts it


def test_annotations_are_set(agent):
    make_run(agent, attempt=3)
    query: PreparedQuery[Any] = PreparedQuery(
        lambda pk: AgentRun.objects.filter(agent=pk).annotate(
            next_one=F("attempt") + 1
        ),
        BigIntegerField(),
    )
    assert [row.next_one for row in query(agent.pk)] == [4]


def test_none_matches_nothing(agent):
    make_run(agent)  # its parent is NULL
    query = PreparedQuery(
        lambda parent: AgentRun.objects.filter(parent=parent), BigIntegerField()
    )
    assert query(None) == []


@pytest.mark.parametrize(
    "rows",
    [
        lambda: Agent.objects.values("pk"),
        lambda: Agent.objects.values_list("pk", flat=True),
        lambda: Agent.objects.prefetch_related("bindings"),
    ],
)
def test_what_it_cannot_do_is_refused(rows):
    with pytest.raises(ValueError, match="values_list"):
        PreparedQuery(lambda _key: rows(), BigIntegerField())(1)


def test_a_database_can_be_named(agent):
    made = make_run(agent)
    assert _runs_of(agent.pk, using="default") == [made]
    with pytest.raises(Exception, match="elsewhere"):
        _runs_of(agent.pk, using="elsewhere")


def test_a_literal_stands_in_the_statement(agent):
    made = make_run(agent)
    query = PreparedQuery(
        lambda pk: AgentRun.objects.filter(agent=pk, status=Literal("completed")),
        BigIntegerField(),
    )
    with CaptureQueriesContext(connection) as queries:
        assert query(agent.pk) == [made]
    assert "= 'completed'" in queries[0]["sql"]
    assert not AgentRun.objects.filter(status__in=[Literal("queued")]).exists()
    for unfit in ("it's", "a b", ""):
        with pytest.raises(ValueError, match="not a word"):
            AgentRun.objects.filter(status=Literal(unfit)).exists()


# Locks

_locked = PreparedQuery(
    lambda key: locking(Workspace.objects.filter(pk=key)), BigIntegerField()
)


@pytest.mark.django_db(transaction=True)
def test_a_locking_query_locks(workspace):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer")
    held, done = threading.Event(), threading.Event()

    def rename():
        held.wait(5)
        Workspace.objects.filter(pk=workspace.pk).update(name="second")
        done.set()
        connection.close()

    thread = threading.Thread(target=rename)
    thread.start()
    with transaction.atomic():
        (row,) = _locked(workspace.pk)
        held.set()
        assert not done.wait(0.3)
        row.name = "first"
        row.save()
    thread.join()
    workspace.refresh_from_db()
    assert workspace.name == "second"


@pytest.mark.django_db(transaction=True)
def test_a_locking_query_needs_a_transaction_each_time(workspace):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no row locks")
    with transaction.atomic():
        assert _locked(workspace.pk) == [workspace]
    with pytest.raises(TransactionManagementError):
        _locked(workspace.pk)


# Threads


@pytest.mark.django_db(transaction=True)
def test_many_threads_share_a_query(workspace):
    """Also its first execution, where it is compiled."""
    agents = [
        Agent.objects.create(workspace=workspace, slug=f"a{number}", runner_id="x")
        for number in range(8)
    ]
    made = {agent.pk: make_run(agent, metadata={"n": agent.pk}) for agent in agents}
    query = PreparedQuery(
        lambda pk: AgentRun.objects.select_related("agent").filter(agent=pk),
        BigIntegerField(),
    )
    barrier = threading.Barrier(8)

    def ask(agent):
        barrier.wait(10)
        try:
            for _ in range(30):
                (row,) = query(agent.pk)
                assert row == made[agent.pk]
                assert row.metadata == {"n": agent.pk}
                assert row.agent.slug == agent.slug
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, agents))


# Inserts


def test_rows_get_their_keys_in_order(workspace):
    insert = PreparedInsert(Conversation)
    for count in (1, 3, 49, 50, 51, 120):
        rows = [conversation(workspace, f"{count}/{n}") for n in range(count)]
        insert(rows)
        stored = dict(Conversation.objects.values_list("pk", "key"))
        assert [stored[row.pk] for row in rows] == [row.key for row in rows]
        assert all(row.created_at and row.updated_at for row in rows)
        assert {(row._state.db, row._state.adding) for row in rows} == {
            ("default", False)
        }
    insert([])


def test_inserted_rows_can_be_saved_and_referred_to(workspace):
    row = conversation(workspace, "one")
    PreparedInsert(Conversation)([row])
    row.title = "another"
    row.save()
    assert Conversation.objects.get().title == "another"


def test_values_arrive_as_with_the_orm(agent):
    run = make_run(agent)
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    data = {"text": "ü\U0001f600", "n": 2**53, "none": None, "list": [1.5, True]}
    rows = [
        RunEvent(run=run, seq=1, type="warning", data=data, created_at=moment),
        RunEvent(run=run, seq=2, type="warning", data=[], usage={}, created_at=moment),
    ]
    PreparedInsert(RunEvent)(rows)
    first, second = RunEvent.objects.filter(run=run).order_by("seq")
    assert (first.data, first.usage, first.created_at) == (data, None, moment)
    assert (second.data, second.usage, second.invocation) == ([], {}, 1)


def test_no_value_is_null_and_not_json_null(workspace):
    PreparedInsert(RunnerState)(
        [RunnerState(workspace=workspace, scope_key="s", key="k", value=None)]
    )
    assert RunnerState.objects.filter(value__isnull=True).exists()


def test_conflicts_raise_or_leave_rows_without_a_key(workspace):
    PreparedInsert(Conversation)([conversation(workspace, "b")])
    rows = [conversation(workspace, key) for key in ("a", "b", "c")]
    with pytest.raises(IntegrityError), transaction.atomic():
        PreparedInsert(Conversation)(rows)
    rows = [conversation(workspace, key) for key in ("a", "b", "c")]
    PreparedInsert(Conversation, unless_conflict=True)(rows)
    stored = dict(Conversation.objects.values_list("key", "pk"))
    assert [row.pk for row in rows] == [stored["a"], None, stored["c"]]
    assert len(stored) == 3


# Updates


def test_an_update_sets_its_columns_only(workspace):
    update = PreparedUpdate(Conversation, "title", "transcript_seq", "bot_id")
    one, other = conversation(workspace, "one"), conversation(workspace, "other")
    PreparedInsert(Conversation)([one, other])
    bot = uuid4()
    assert update(one.pk, "new", 7, bot) == 1
    one.refresh_from_db()
    other.refresh_from_db()
    assert (one.title, one.transcript_seq, one.bot_id) == ("new", 7, bot)
    assert (one.key, other.title) == ("one", "a title")
    assert update(one.pk, "new", 7, None) == 1
    one.refresh_from_db()
    assert one.bot_id is None
    assert update(0, "new", 7, None) == 0
    with pytest.raises(ValueError, match="zip"):
        update(one.pk, "too few")


# Lookups


def test_a_lookup_of_any_size(agent):
    keys = [make_run(agent).pk for _ in range(17)]
    assert _lookup([]) == []
    for size in (1, 2, 3, 4, 5, 8, 9, 16, 17):
        found = _lookup(list(reversed(keys[:size])))
        assert [row.pk for row in found] == keys[:size]
    assert [row.pk for row in _lookup([keys[0]] * 5)] == [keys[0]]
    assert [row.pk for row in _lookup([keys[0], 0])] == [keys[0]]
    assert sorted(_lookup._sizes) == [1, 2, 4, 8, 16, 32]


def test_a_query_of_several_values_keeps_their_order(workspace):
    PreparedInsert(Conversation)([conversation(workspace, "one")])
    query = PreparedQuery(
        lambda workspace, key: Conversation.objects.filter(
            key=key, workspace=workspace
        ),
        BigIntegerField(),
        CharField(),
    )
    assert [row.key for row in query(workspace.pk, "one")] == ["one"]
    assert query(workspace.pk, "two") == []


def test_a_query_planned_anew_leaves_no_plan_on_the_server(workspace):
    query = PreparedQuery(
        lambda name: Workspace.objects.filter(slug="default", name=name),
        CharField(),
        planned_anew=True,
    )
    found = [query.first(workspace.name) for _ in range(10)]
    assert found == [workspace] * 10
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT statement FROM pg_prepared_statements"
                " WHERE statement LIKE '%%langbot_core_workspace%%'"
            )
            kept = [statement for (statement,) in cursor.fetchall()]
        assert not [one for one in kept if 'name" = ' in one]
