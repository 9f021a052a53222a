"""The chain over the audit log: what is changed behind its back is found and named."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from threading import Barrier, Thread

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from langbot.checks import audit_checks
from langbot.core.audit import Author, record_act, record_change, record_host_act
from langbot.core.audit_chain import SEGMENT_ROWS, find_breaks, purge_due, seal_all
from langbot.core.models import AuditLog, AuditSeal
from langbot.lib.models import AppendOnlyError
from tests.factories import AgentFactory, WorkspaceFactory

TABLE = AuditLog._meta.db_table
SEALS = AuditSeal._meta.db_table


@pytest.fixture
def entries(agent):
    """Ten entries of one workspace in two sealed segments."""
    for part in range(2):
        for number in range(5):
            record_act("ada", f"act {part}{number}", agent, after={"number": number})
        assert seal_all() == 5
    return list(AuditLog.objects.order_by("pk"))


def sql(statement, *values):
    """Change the tables behind everybody's back; `LOG` and `SEALS` name them."""
    statement = statement.replace("LOG", TABLE).replace("SEALS", SEALS)
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        assert cursor.rowcount


def broken():
    return [str(one) for one in find_breaks()]


def test_a_chain_that_nobody_touched_holds(entries):
    assert broken() == []
    first, second = AuditSeal.objects.order_by("number")
    assert second.previous_hash == first.hash
    assert (first.count, second.count) == (5, 5)
    assert seal_all() == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("actor", "bob"),
        ("source", "rest"),
        ("action", "nothing"),
        ("object_id", "other"),
        ("after", '{"number": 7}'),
        ("before", "{}"),
        ("workspace_id", None),
        ("created_at", "2020-01-01 00:00:00+00:00"),
    ],
)
def test_a_changed_row_is_named(entries, column, value):
    victim = entries[3]
    sql(
        "UPDATE LOG SET column = %s WHERE id = %s".replace("column", column),
        value,
        victim.pk,
    )
    assert broken() == [
        f"workspace default, segment 1: entry {victim.pk} was changed",
    ]


def test_the_first_of_several_is_named(entries):
    for victim in (entries[7], entries[2]):
        sql("UPDATE LOG SET actor = 'bob' WHERE id = %s", victim.pk)
    assert f"entry {entries[2].pk} was changed" in broken()[0]


def test_a_removed_row_is_named(entries):
    sql("DELETE FROM LOG WHERE id = %s", entries[6].pk)
    assert broken() == [
        f"workspace default, segment 2: entry {entries[6].pk} was removed"
    ]


def test_rows_that_changed_places_are_named(entries):
    one, two = entries[1].pk, entries[2].pk
    for before, after in ((one, -1), (two, one), (-1, two)):
        sql("UPDATE LOG SET id = %s WHERE id = %s", after, before)
    assert f"entry {one} was changed" in broken()[0]


def test_a_row_slipped_into_a_segment_is_named(entries):
    late = record_act("eve", "slipped in", AgentFactory.create())
    sql("UPDATE LOG SET seal_id = %s WHERE id = %s", entries[0].seal_id, late.pk)
    assert f"entry {late.pk} was added later" in broken()[0]


def test_a_row_that_left_its_segment_is_named(entries):
    sql("UPDATE LOG SET seal_id = NULL WHERE id = %s", entries[4].pk)
    assert f"entry {entries[4].pk} was removed" in broken()[0]


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE SEALS SET hash = 'x' WHERE number = 1", "its seal was changed"),
        ("UPDATE SEALS SET count = 4 WHERE number = 2", "its seal was changed"),
        (
            "UPDATE SEALS SET previous_hash = '' WHERE number = 2",
            "its seal does not continue the one before",
        ),
    ],
)
def test_a_forged_seal_is_found(entries, statement, problem):
    sql(statement)
    assert problem in broken()[0]


def test_a_segment_that_vanished_is_found(entries):
    first = entries[0].seal_id
    sql("DELETE FROM LOG WHERE seal_id = %s", first)
    sql("DELETE FROM SEALS WHERE id = %s", first)
    assert broken() == ["workspace default, segment 1: its seal is missing"]


def test_rewriting_an_entry_and_its_seal_breaks_the_next_one(entries):
    from langbot.core.audit_chain import _hash, digest_of

    victim = entries[0]
    sql("UPDATE LOG SET actor = 'bob' WHERE id = %s", victim.pk)
    rows = AuditLog.objects.filter(seal=victim.seal_id).order_by("pk")
    digests = [digest_of(row) for row in rows]
    seal = AuditSeal.objects.get(pk=victim.seal_id)
    forged = _hash(seal.workspace_id, 1, "", digests)
    sql(
        "UPDATE SEALS SET hash = %s, digests = %s WHERE id = %s",
        forged,
        json.dumps(digests),
        seal.pk,
    )
    assert broken() == [
        "workspace default, segment 2: its seal does not continue the one before"
    ]


def test_workspaces_have_chains_of_their_own(entries):
    other = AgentFactory.create(workspace=WorkspaceFactory.create(slug="other"))
    mine = record_act("bob", "changed", other)
    host = record_host_act("root", "pruned", {"leases": 3})
    assert seal_all() == 2
    assert AuditSeal.objects.filter(number=1).count() == 3
    for victim in (entries[0], mine, host):
        sql("UPDATE LOG SET actor = 'x' WHERE id = %s", victim.pk)
    assert len(broken()) == 3
    assert any(line.startswith("workspace *,") for line in broken())


def test_a_long_log_is_sealed_in_segments(agent):
    AuditLog.objects.bulk_create(
        AuditLog(actor="ada", action="x", object_type="t", object_id=str(number))
        for number in range(SEGMENT_ROWS + 1)
    )
    assert seal_all() == SEGMENT_ROWS + 1
    assert list(AuditSeal.objects.order_by("number").values_list("count")) == [
        (SEGMENT_ROWS,),
        (1,),
    ]
    assert broken() == []


@pytest.mark.parametrize("turn", range(8))
@pytest.mark.django_db(transaction=True)
def test_of_many_sealers_each_entry_has_one_seal(turn):
    workspace = WorkspaceFactory.create()
    for number in range(40):
        record_act("ada", f"{number}", AgentFactory.build(workspace=workspace))
    barrier = Barrier(6)

    def seal():
        barrier.wait()
        try:
            seal_all()
        finally:
            connection.close()

    threads = [Thread(target=seal) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not AuditLog.objects.filter(seal=None).exists()
    assert sum(AuditSeal.objects.values_list("count", flat=True)) == 40
    assert broken() == []


def test_retention_takes_whole_segments_and_keeps_their_hash(entries, settings):
    old = datetime.now(UTC) - timedelta(days=10)
    first, second = AuditSeal.objects.order_by("number")
    sql("UPDATE SEALS SET last_at = %s WHERE id = %s", old, first.pk)
    assert purge_due() == 0  # kept for good unless somebody says otherwise
    settings.LANGBOT = {**settings.LANGBOT, "AUDIT_DAYS": 9}
    assert purge_due() == 5
    kept = AuditSeal.objects.get(pk=first.pk)
    assert (kept.hash, kept.digests) == (first.hash, None)
    assert AuditLog.objects.count() == 5
    assert broken() == []
    sql("UPDATE SEALS SET hash = 'x' WHERE id = %s", first.pk)
    assert f"segment {second.number}" in broken()[0]


def test_checklangbot_names_the_broken_entry(entries):
    call_command("checklangbot", stdout=StringIO())
    sql("DELETE FROM LOG WHERE id = %s", entries[2].pk)
    output = StringIO()
    with pytest.raises(CommandError):
        call_command("checklangbot", stdout=output)
    assert "langbot.E008" in output.getvalue()
    assert f"entry {entries[2].pk} was removed" in output.getvalue()


def test_entries_that_nobody_seals_are_a_warning(agent):
    entry = record_act("ada", "x", agent)
    assert audit_checks() == []
    old = datetime.now(UTC) - timedelta(hours=2)
    sql("UPDATE LOG SET created_at = %s WHERE id = %s", old, entry.pk)
    assert [found.id for found in audit_checks()] == ["langbot.W006"]


def test_the_log_refuses_changes_from_code(entries):
    entry = entries[0]
    for act in (entry.save, entry.delete, AuditLog.objects.all().delete):
        with pytest.raises(AppendOnlyError):
            act()
    with pytest.raises(AppendOnlyError):
        AuditLog.objects.update(actor="x")
    # a sealed row takes no other seal
    assert AuditLog.objects.all().seal_with(AuditSeal.objects.latest("pk")) == 0


def test_an_entry_says_who_and_by_which_door(agent):
    assert record_act("ada", "x", agent).source == "host"
    assert record_act(Author("ada", "admin"), "x", agent).source == "admin"


def test_nothing_changed_is_no_entry_and_secrets_are_masks(workspace):
    from agents.models import ModelProvider
    from langbot.core.audit import state_of

    provider = ModelProvider(workspace=workspace, name="Cloud", api_key="the key")
    provider.save()
    before = state_of(provider)
    assert record_change("ada", provider, before) is None
    provider.api_key = "another key"
    entry = record_change("ada", provider, before)
    assert entry is not None
    assert entry.before == entry.after == {"api_key": "[redacted]"}
    assert entry.workspace == workspace
