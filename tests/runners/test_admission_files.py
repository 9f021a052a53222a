"""Files that come in lie on the disk before a transaction begins to wait for nobody."""

import base64
import os
import sys
import time
from contextlib import contextmanager
from uuid import uuid4

import pytest
from django.db import connection

from artifacts import blobs
from artifacts.inputs import restore_input
from artifacts.models import Artifact
from artifacts.store import ORPHAN_SECONDS, open_artifact, purge_orphans
from runners.admission import Incoming, admit
from runners.branches import say_after
from runners.choices import Role, RunStatus
from runners.errors import ConversationBusyError, InputTooLargeError
from runners.ledger.batches import Ending, end_run
from runners.ledger.finishing import Reply
from runners.models import AgentRun, Conversation, EventLog, TranscriptItem
from runners.openai.calls import Caller, start_call
from runners.openai.requests import Call, ChatMessage

TEXT = base64.b64encode(b"a file").decode()
_TOUCHED = {"open", "os.mkdir", "os.rename", "os.remove", "os.utime", "os.link"}
_watching: list[tuple[str, list[tuple[str, str]]]] = []


def _note(event, arguments):
    if _watching and event in _TOUCHED and isinstance(arguments[0], str | os.PathLike):
        root, seen = _watching[-1]
        path = os.fspath(arguments[0])
        if path.startswith(root):
            seen.append(("inside" if connection.in_atomic_block else "outside", event))


@pytest.fixture(scope="module")
def auditing():
    sys.addaudithook(_note)  # cannot be taken away again; it looks only when asked


@pytest.fixture
def files(auditing, settings, tmp_path):
    """An empty store, and what happens to its files while a block is watched."""
    settings.LANGBOT = {**settings.LANGBOT, "DATA_DIR": tmp_path}

    @contextmanager
    def watched():
        seen: list[tuple[str, str]] = []
        _watching.append((str(tmp_path), seen))
        try:
            yield seen
        finally:
            _watching.pop()

    return watched


def incoming(agent, payload=TEXT, **more):
    given = {
        "workspace": agent.workspace,
        "source": "test:1",
        "event_id": str(uuid4()),
        "type": "message.received",
        "trigger_source": "api",
        "agent": agent,
        "external_conversation": "room",
        "input": {
            "text": "look",
            "contents": [{"type": "file_base64", "file_base64": payload}],
            "attachments": [{"name": "b.txt", "content": payload}],
        },
    }
    return Incoming(**{**given, **more})


def places(seen):
    return {place for place, _event in seen}


def stored():
    return list(blobs.digests())


def make_old():
    for digest in stored():
        path = blobs._path(digest)
        long_ago = time.time() - 2 * ORPHAN_SECONDS
        os.utime(path, (long_ago, long_ago))


@pytest.mark.django_db(transaction=True)
def test_no_file_is_touched_inside_the_transaction(agent, files):
    with files() as seen:
        admitted = admit(incoming(agent))
    assert places(seen) == {"outside"}
    assert admitted.conversation is not None
    here = admitted.conversation.public_id
    rows = list(Artifact.objects.order_by("pk"))
    assert [row.conversation_id_ref for row in rows] == [here, here]
    for row in rows:
        with open_artifact(row) as file:
            assert file.read() == b"a file"
    restored = restore_input(admitted.event.input)
    assert restored["contents"][0]["file_base64"].endswith(TEXT)
    assert restored["attachments"][0]["content"].endswith(TEXT)


@pytest.mark.django_db(transaction=True)
def test_nor_inside_the_transaction_of_words_after_an_earlier_message(agent, files):
    first = admit(incoming(agent))
    item = TranscriptItem.objects.get()
    AgentRun.objects.update(status="running")
    (run,) = AgentRun.objects.all()
    end_run(run.pk, run.conversation_id, Ending(RunStatus.COMPLETED, reply=Reply("ok")))
    other = base64.b64encode(b"another").decode()
    with files() as seen:
        say_after(item, incoming(agent, other, conversation=first.conversation))
    assert places(seen) == {"outside"}
    assert Artifact.objects.count() == 4


@pytest.mark.django_db(transaction=True)
def test_nor_inside_that_of_a_call_with_its_history(agent, files):
    element = {"type": "file_base64", "file_base64": TEXT}
    said = [ChatMessage(Role.USER, [element]), ChatMessage(Role.USER, [element])]
    caller = Caller(agent.workspace, "user:1", {"id": "u1"})
    with files() as seen:
        started = start_call(caller, Call("chat", agent.slug, said))
    assert places(seen) == {"outside"}
    conversation = Conversation.objects.get()
    assert [row.conversation_id_ref for row in Artifact.objects.all()] == [
        conversation.public_id
    ] * 2
    assert started.model == agent.slug


def test_a_refused_event_leaves_no_row_and_its_bytes_are_swept(agent, files):
    agent.multitask_strategy = "reject"
    agent.save()
    admit(incoming(agent, input={"text": "hello"}))
    with pytest.raises(ConversationBusyError):
        admit(incoming(agent))
    assert not Artifact.objects.exists()
    assert EventLog.objects.count() == 1
    assert len(stored()) == 1
    assert purge_orphans() == 0, "its transaction may not have committed yet"
    make_old()
    assert purge_orphans() == 1
    assert stored() == []


def test_what_is_refused_at_once_stores_nothing(agent, files):
    event = incoming(agent)
    too_long = {**event.input, "text": "x" * 32_001}
    with files() as seen, pytest.raises(InputTooLargeError):
        admit(incoming(agent, input=too_long))
    assert seen == []
    admitted = admit(event)
    with files() as seen:
        again = admit(event)
    assert (again.status, again.event) == ("duplicate", admitted.event)
    assert seen == []


def test_bytes_of_an_admitted_event_stay(agent, files):
    admit(incoming(agent))
    make_old()
    assert purge_orphans() == 0
    assert len(stored()) == 1


def test_a_store_that_is_no_folder_refuses_no_message(agent, files, tmp_path):
    (tmp_path / "artifacts").write_text("in the way")
    admitted = admit(incoming(agent))
    assert admitted.status == "started"
    errors = [
        one["error"]
        for name in ("contents", "attachments")
        for one in admitted.event.input[name]
    ]
    assert errors == ["not_stored", "not_stored"]
    assert not Artifact.objects.exists()
