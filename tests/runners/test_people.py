"""Everything of one person, to be handed over or removed, and nothing of others."""

import json
import zipfile
from io import BytesIO, StringIO
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from agents.models import PersonTier, PluginStorage, UsageRecord
from artifacts import blobs
from langbot.core.audit import Author, record_act
from langbot.core.audit_chain import find_breaks, seal_all
from langbot.core.models import AuditLog, IdempotencyKey
from runners.admission import Incoming, admit
from runners.choices import RunStatus
from runners.ledger.batches import Ending, end_run
from runners.ledger.finishing import Reply
from runners.ledger.scopes import scope_keys
from runners.ledger.search import _TSVECTOR, FTS_TABLE
from runners.models import (
    AgentRun,
    Conversation,
    EventLog,
    HostCall,
    RunnerState,
    TranscriptItem,
)
from runners.people.erasing import erase_person
from runners.people.exporting import export_person
from runners.people.persons import Person, find_holdings
from tests.factories import AgentFactory, BotFactory
from tests.runners.admin_rows import add_events
from tests.support.canary import rows_with
from tests.support.stored_files import store_bytes

pytestmark = pytest.mark.django_db

CANARY = "canary4711"
EVE, BOB = f"eve-{CANARY}", "bob-of-the-group"
AUTHOR = Author("keeper", "command eraseperson")


@pytest.fixture
def bot(workspace):
    return BotFactory.create(workspace=workspace)


@pytest.fixture
def eve(bot):
    return Person(EVE, bot.workspace, bot.public_id)


@pytest.fixture
def say(agent, bot):
    """Admit a message of somebody; `answer` ends its run with a reply."""

    def admit_one(actor, text, place="room", answer="", agent=agent):
        admitted = admit(
            Incoming(
                workspace=bot.workspace,
                source=f"bot:{bot.public_id}",
                event_id=str(uuid4()),
                type="message.received",
                trigger_source="platform",
                bot=bot,
                agent=agent,
                external_conversation=place,
                actor={"id": actor, "name": f"name of {actor}", "type": "user"},
                input={"text": text},
            )
        )
        if answer:
            finish(admitted.run, answer)
        return admitted

    return admit_one


def finish(run, answer):
    AgentRun.objects.filter(pk=run.pk).update(
        status=RunStatus.RUNNING, snapshot={"delivery_policy": {}, "said": answer}
    )
    ending = Ending(RunStatus.COMPLETED, reply=Reply(answer))
    assert end_run(run.pk, run.conversation_id, ending)


def leave_traces(admitted):
    """Put the canary wherever something of a run may be kept."""
    run, place = admitted.run, admitted.conversation
    run.refresh_from_db()
    add_events(run, ("processor.log", {"text": CANARY}))
    HostCall.objects.create(
        run=run, invocation=1, plugin_seq_id=7, action="call_tool", answer={"x": CANARY}
    )
    store_bytes(
        run.workspace,
        f"bytes {CANARY}".encode(),
        type="file",
        mime_type="text/plain",
        name=f"{CANARY}.txt",
        source="runner",
        conversation=place,
        run=run,
    )
    for scope, key in scope_keys(run).items():
        if scope != "runner":
            RunnerState.objects.create(
                workspace=run.workspace,
                runner_id=run.runner_id,
                scope=scope,
                scope_key=key,
                key="mood",
                value={"is": CANARY},
            )
    PluginStorage.objects.create(
        workspace=run.workspace,
        plugin="a/b",
        key=f"profile:{EVE}",
        value=CANARY.encode(),
        size=9,
    )
    name = f"{run.bot_id}:{EVE}"
    UsageRecord.objects.create(
        workspace=run.workspace,
        run_id=run.public_id,
        person=name,
        model_name="m",
        provider_name="p",
        cost_source="missing",
    )
    PersonTier.objects.create(workspace=run.workspace, person=name)
    IdempotencyKey.objects.create(
        owner="user:1", key="k", answer={"data": {"run_id": str(run.public_id)}}
    )
    record_act("keeper", "changed", place, before={"title": CANARY}, after={"by": EVE})
    seal_all()
    record_act("keeper", "changed", place.workspace, after={"allowed": [EVE, BOB]})


def files_with(word):
    return [
        path
        for path in Path(blobs.storage().location).rglob("*")
        if path.is_file() and word.encode() in path.read_bytes()
    ]


def found_by_search(word):
    table = TranscriptItem._meta.db_table
    statement = f"SELECT rowid FROM {FTS_TABLE} WHERE {FTS_TABLE} MATCH %s"  # noqa: S608
    if connection.vendor == "postgresql":
        statement = f"SELECT item.id FROM {table} AS item WHERE {_TSVECTOR}"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(statement, [word])
        return cursor.fetchall()


def test_a_person_is_gone_from_every_column_and_every_file(say, eve):
    private = say(EVE, f"I am {CANARY}", place="alone", answer=f"Hello {CANARY}")
    leave_traces(private)
    shared = say(BOB, "Hello all", answer="Hello Bob").conversation
    say(EVE, f"{CANARY} here", answer=f"Good day {CANARY}")
    live = say(EVE, f"Are you there, {CANARY}?")
    waiting = say(EVE, f"Hurry, says {CANARY}")
    then = say(BOB, "And I?")
    assert (waiting.status, then.status) == ("queued", "queued")
    assert len(rows_with([CANARY])) > 20
    assert files_with(CANARY)
    assert found_by_search(CANARY)

    counts = erase_person(eve, AUTHOR)

    assert counts["runs"] == 3
    assert rows_with([CANARY]) == []
    assert files_with(CANARY) == []
    assert found_by_search(CANARY) == []
    assert not AgentRun.objects.filter(pk=live.run.pk).exists()
    said = TranscriptItem.objects.filter(conversation=shared).order_by("seq")
    assert [item.text for item in said] == ["Hello all", "Hello Bob", "And I?"]
    assert AgentRun.objects.get(event=then.event).status == "queued"
    assert Conversation.objects.get() == shared


def test_erasing_keeps_the_chain_and_says_what_it_did(say, eve):
    leave_traces(say(EVE, CANARY, place="alone", answer=CANARY))
    entries = AuditLog.objects.count()
    erase_person(eve, AUTHOR)
    seal_all()
    assert list(find_breaks()) == []
    listed = AuditLog.objects.filter(action="rewritten")
    assert sum([len(said_of(one)["entries"]) for one in listed]) == 2
    erased = AuditLog.objects.get(action="person erased")
    assert said_of(erased)["person"] == eve.pseudonym
    assert AuditLog.objects.count() == entries + listed.count() + 1
    allowed = AuditLog.objects.get(after__has_key="allowed")
    assert said_of(allowed)["allowed"] == [eve.pseudonym, BOB]


def said_of(entry):
    assert entry.after is not None
    return entry.after


def test_a_rewritten_entry_that_is_changed_again_is_found(say, eve):
    leave_traces(say(EVE, CANARY, place="alone", answer=CANARY))
    erase_person(eve, AUTHOR)
    row = AuditLog.objects.exclude(seal=None).get(after={"erased": True})
    AuditLog.objects.filter(pk=row.pk).rewrite(actor="somebody else")
    assert [one.row for one in find_breaks()] == [row.pk]


def test_erasing_twice_changes_nothing_more(say, eve):
    leave_traces(say(EVE, CANARY, place="alone", answer=CANARY))
    erase_person(eve, AUTHOR)
    before = {row: row_count(row) for row in (AuditLog, EventLog, TranscriptItem)}
    assert erase_person(eve, AUTHOR) == {}
    after = {row: row_count(row) for row in before}
    assert after == before | {AuditLog: before[AuditLog] + 1}
    assert find_holdings(eve).keys["events"] == set()


def row_count(model):
    return model._default_manager.count()


def test_people_of_other_bots_and_like_names_are_left_alone(say, eve, workspace, agent):
    say(f"{EVE}7", "I am another", place="elsewhere", answer="Hello")
    PluginStorage.objects.create(
        workspace=workspace, plugin="a/b", key=f"profile:{EVE}7", value=b"", size=0
    )
    other = BotFactory.create(workspace=workspace)
    twin = Person(EVE, workspace, other.public_id)
    say(EVE, "mine", place="alone", answer="yours")
    assert erase_person(twin, AUTHOR) == {}
    erase_person(eve, AUTHOR)
    assert PluginStorage.objects.count() == 1
    assert {
        one.actor["id"] for one in EventLog.objects.exclude(actor__type="agent")
    } == {f"{EVE}7"}


def test_a_short_id_is_no_word_of_others(say, bot):
    person = Person("42", bot.workspace, bot.public_id)
    record_act("keeper", "changed", bot, after={"limit": "42", "who": "user:42"})
    say("42", "Hello", place="alone", answer="Hello 42")
    erase_person(person, AUTHOR)
    entry = AuditLog.objects.get(action="changed")
    assert entry.after == {"limit": "42", "who": person.pseudonym}
    assert list(find_breaks()) == []


def test_sub_runs_are_known_by_their_parent(say, eve, agent):
    parent = say(EVE, CANARY, place="alone", answer=CANARY).run
    helper = AgentFactory.create(workspace=agent.workspace)
    place = Conversation.objects.create(
        workspace=agent.workspace, key=f"sub:{parent.public_id}", kind="sub"
    )
    child = admit(
        Incoming(
            workspace=agent.workspace,
            source=f"run:{parent.public_id}",
            event_id=str(uuid4()),
            type="message.received",
            trigger_source="system",
            agent=helper,
            conversation=place,
            input={"text": f"Ask about {CANARY}"},
        )
    ).run
    assert child is not None
    AgentRun.objects.filter(pk=child.pk).update(parent=parent, depth=1)
    erase_person(eve, AUTHOR)
    assert rows_with([CANARY]) == []
    assert not AgentRun.objects.filter(pk=child.pk).exists()


def test_an_account_is_known_everywhere_it_speaks_and_signs(user, agent, api_client):
    user.first_name = CANARY
    user.save()
    agents = agent.versions
    agents.create(number=1, data={}, author=user.username)
    record_act(user.username, "changed", agent, after={"name": "Ada's agent"})
    path = f"/api/v1/agents/{agent.public_id}/test/"
    assert api_client.post(path, {"text": CANARY}, format="json").status_code == 201
    person = Person(f"user:{user.pk}", username=user.username)
    erase_person(person, AUTHOR)
    assert EventLog.objects.count() == 0
    assert agents.get(number=1).author == person.pseudonym
    assert not AuditLog.objects.filter(actor=user.username).exists()
    assert [one for one in rows_with([CANARY]) if "auth_user" not in one] == []
    assert list(find_breaks()) == []


def test_an_export_has_everything_of_one_person(say, eve):
    leave_traces(say(EVE, f"I am {CANARY}", place="alone", answer=f"Hi {CANARY}"))
    say(BOB, "secret of Bob", answer="Hello Bob")
    say(EVE, "I am in the room", answer="So you are")
    file = BytesIO()
    counts = export_person(eve, file)
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        texts = {name: archive.read(name).decode() for name in names}
    assert json.loads(texts["person.json"])["rows"] == counts
    assert (counts["runs"], counts["messages"], counts["files"]) == (2, 4, 1)
    said = [json.loads(line)["text"] for line in texts["messages.jsonl"].splitlines()]
    assert said == [f"I am {CANARY}", f"Hi {CANARY}", "I am in the room", "So you are"]
    for name in (
        "events",
        "run_events",
        "host_calls",
        "state",
        "stored_values",
        "audit",
    ):
        assert CANARY in texts[f"{name}.jsonl"], name
    (stored,) = [texts[name] for name in names if name.startswith("files/")]
    assert stored == f"bytes {CANARY}"
    assert not any("secret of Bob" in text for text in texts.values())


def test_no_name_of_a_file_leads_out_of_its_folder(say, eve):
    place = say(EVE, "look", place="alone").conversation
    names = ("..", "..\\..\\evil.exe", "/etc/x", "C:y", "cut\noff", "", " a b.txt")
    for name in names:
        store_bytes(
            place.workspace,
            b"x",
            type="file",
            mime_type="text/plain",
            name=name,
            source="platform",
            conversation=place,
        )
    to = BytesIO()
    export_person(eve, to)
    with zipfile.ZipFile(to) as archive:
        inside = [one.split("/") for one in archive.namelist() if "/" in one]
    assert {len(parts) for parts in inside} == {3}
    found = {name for _files, _id, name in inside}
    assert found == {"file", "_.._evil.exe", "_etc_x", "C_y", "cut_off", "a b.txt"}


def test_commands_export_and_erase(say, bot, tmp_path):
    say(EVE, CANARY, place="alone", answer=CANARY)
    who = ["--bot", bot.slug, "--actor", EVE]
    target = tmp_path / "eve.zip"
    call_command("exportperson", str(target), *who, stdout=StringIO())
    assert target.stat().st_mode & 0o777 == 0o600
    assert "person.json" in zipfile.ZipFile(target).namelist()
    with pytest.raises(CommandError, match="exists"):
        call_command("exportperson", str(target), *who)
    output = StringIO()
    call_command("eraseperson", *who, stdout=output)
    assert "Nothing was removed yet" in output.getvalue()
    assert rows_with([CANARY])
    call_command("eraseperson", *who, "--yes", stdout=output)
    assert rows_with([CANARY]) == []
    actions = AuditLog.objects.values_list("action", flat=True)
    assert {"person exported", "person erased"} <= set(actions)


def test_people_of_a_conversation_are_erased_from_its_list(admin_client, say):
    here = say(EVE, CANARY, answer="Hello Eve").conversation
    say(EVE, CANARY, place="elsewhere", answer="Hello again")
    say("somebody else", "Hello", place="another room", answer="Hello you")
    url = "/admin/langbot_runners/conversation/"
    chosen = {"action": "erase_people", "_selected_action": [here.pk]}
    asked = admin_client.post(url, chosen)
    assert asked.status_code == 200
    assert EVE in asked.content.decode()
    assert AgentRun.objects.count() == 3
    done = admin_client.post(url, {**chosen, "post": "yes"}, follow=True)
    assert "1 person was erased" in done.content.decode()
    assert [run.event.input["text"] for run in AgentRun.objects.all()] == ["Hello"]
    entry = AuditLog.objects.get(action="person erased")
    assert (entry.actor, entry.source) == ("admin", "admin")
    assert rows_with([CANARY]) == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--actor", "x", "--bot", "none"], "no bot none"),
        (["--actor", "x", "--workspace", "none"], "no workspace none"),
        (["--user", "none"], "no user none"),
    ],
)
def test_commands_name_what_is_missing(workspace, arguments, problem):
    with pytest.raises(CommandError, match=problem):
        call_command("eraseperson", *arguments)
