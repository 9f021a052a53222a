"""Files that runners make are events of their conversation, too (LB-59)."""

import base64
import json
from datetime import UTC, datetime

import pytest
from django.db import IntegrityError

from agents.models import AgentBinding
from artifacts.models import Artifact
from runners.choices import RunStatus
from runners.engine.results import ResultLog
from runners.errors import NotReplayableError
from runners.ledger.batches import Batch, Ending, write_batches
from runners.ledger.fence import NewEvent
from runners.ledger.finishing import Reply
from runners.models import (
    AgentRun,
    EventLog,
    QueuedMessage,
    RunEvent,
    TranscriptItem,
)
from runners.replays import replay_event
from runners.signals import event_received
from tests.support import ledger

MIB = 1024 * 1024


@pytest.fixture
def maker(caller_of):
    return making(caller_of(artifacts=True))


def making(caller):
    """Have a run under way whose results make files."""
    fields = {"fencing_token": ledger.TOKEN, "status": "running", "finished_at": None}
    AgentRun.objects.filter(pk=caller.run.pk).update(**fields)
    caller.log = ResultLog(caller.facts)
    return caller


def make_file(maker, name="notes.txt", **data):
    """Apply a result `artifact.created`."""
    given = {"artifact_type": "file", "name": name, "mime_type": "text/plain", **data}
    given["content_base64"] = base64.b64encode(name.encode()).decode()
    raw = {"type": "artifact.created", "data": given}
    sequence = maker.log.last_sequence + 1
    maker.log.apply(
        {**raw, "sequence": sequence, "run_id": str(maker.run.public_id)},
        len(json.dumps(given)),
    )


def batch_of(maker, token=ledger.TOKEN):
    events, maker.log.events = maker.log.events, []
    files = maker.log.files.take()
    return Batch(maker.run.pk, maker.run.conversation_id, token, events, files=files)


def made():
    return EventLog.objects.filter(type="artifact.created")


def test_a_runner_finds_the_file_in_the_events_of_its_conversation(maker):
    make_file(maker, metadata={"note": "for the runner alone"})
    write_batches([batch_of(maker)])
    artifact = Artifact.objects.get()
    (item,) = maker("event_page", event_types=["artifact.created"])["items"]
    assert (item["subject_type"], item["subject_id"]) == (
        "artifact",
        str(artifact.public_id),
    )
    assert item["input_summary"] == "notes.txt"
    assert (item["source"], item["actor_type"]) == ("system", "agent")
    assert maker("event_get", event_id=item["event_id"]) == item
    known = maker("artifact_metadata", artifact_id=item["subject_id"])
    assert known["artifact_id"] == str(artifact.public_id)
    event = made().get()
    assert event.source == f"run:{maker.run.public_id}"
    assert event.data["size"] == len("notes.txt")
    assert "for the runner alone" not in json.dumps(event.data)


def test_it_begins_nothing_and_is_not_repeated(
    maker, django_capture_on_commit_callbacks
):
    AgentBinding.objects.create(
        agent=maker.run.agent, scope="workspace", event_pattern="*"
    )
    told = []

    def note(sender, **given):
        told.append(given)

    event_received.connect(note)
    try:
        make_file(maker)
        with django_capture_on_commit_callbacks(execute=True):
            write_batches([batch_of(maker)])
    finally:
        event_received.disconnect(note)
    assert (AgentRun.objects.count(), QueuedMessage.objects.count()) == (1, 0)
    assert told == []
    with pytest.raises(NotReplayableError):
        replay_event(made().get(), "ada")


def test_every_file_of_a_group_of_runs_has_one(maker, caller_of):
    beside = making(caller_of(artifacts=True))
    for name in ("a.txt", "b.txt"):
        make_file(maker, name)
    make_file(beside, "c.txt")
    write_batches([batch_of(maker), batch_of(beside)])
    found = made().order_by("pk").values_list("conversation", "input_summary")
    own, other = maker.run.conversation_id, beside.run.conversation_id
    assert list(found) == [(own, "a.txt"), (own, "b.txt"), (other, "c.txt")]


def test_a_worker_that_lost_the_run_leaves_none(maker):
    make_file(maker)
    assert not write_batches([batch_of(maker, ledger.TOKEN - 1)]).last_seq
    assert not made().exists()
    assert not Artifact.objects.exists()


def test_a_batch_that_failed_leaves_none_and_one_when_it_is_tried_again(maker):
    make_file(maker)
    batch = batch_of(maker)
    taken = RunEvent.objects.create(
        run_id=maker.run.pk,
        seq=maker.run.last_seq + 1,
        type="warning",
        data={},
        created_at=datetime.now(UTC),
    )
    with pytest.raises(IntegrityError):
        write_batches([batch])
    assert not made().exists()
    RunEvent.objects.filter(pk=taken.pk).purge()
    write_batches([batch])
    assert made().count() == Artifact.objects.count() == 1


def test_a_text_that_the_host_keeps_whole_is_no_file_of_the_runner(maker):
    maker.log.files.add_text("long", "message.completed.txt")
    maker.log.events.append(NewEvent("warning", {"code": "too_large"}))
    write_batches([batch_of(maker)])
    assert Artifact.objects.get().source == "system"
    assert not made().exists()


def test_a_run_without_files_asks_nothing_more(maker, django_assert_num_queries):
    maker.log.events.append(NewEvent("message.delta", {"text": "a"}))
    first = batch_of(maker)
    write_batches([first])  # statements are prepared now
    maker.log.events.append(NewEvent("message.delta", {"text": "b"}))
    with django_assert_num_queries(4) as counted:
        write_batches([batch_of(maker)])
    assert not [one for one in counted if "langbot_runners_eventlog" in one["sql"]]


def test_a_file_goes_with_the_reply_that_was_replaced(maker, caller_of):
    run = maker.run
    make_file(maker, "first.txt")
    ending = Ending(RunStatus.COMPLETED, reply=Reply("here it is"))
    batch = batch_of(maker)
    batch.events.append(ending.event())
    batch.ending = ending
    write_batches([batch])
    reader = caller_of(artifacts=True, beside=maker)
    seen = {"event_types": ["artifact.created"]}
    assert len(reader("event_page", **seen)["items"]) == 1
    TranscriptItem.objects.filter(run=run).exclude(role="user").supersede()
    assert reader("event_page", **seen)["items"] == []
    assert reader.refused("event_get", event_id=made().get().event_id) == "not_found"
    make_file(making(reader), "second.txt")
    write_batches([batch_of(reader)])
    (item,) = reader("event_page", **seen)["items"]
    assert item["input_summary"] == "second.txt"
