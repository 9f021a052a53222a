from datetime import UTC, datetime

import pytest

from runners.models import Conversation, EventLog, TranscriptItem
from tests.factories import WorkspaceFactory
from tests.runners.admin_rows import add_events

SHAPE = {  # wire 6: AgentEventRecord, flat
    "event_id": str,
    "event_type": str,
    "event_time": int,
    "source": str,
    "bot_id": str | None,
    "workspace_id": str,
    "conversation_id": str,
    "thread_id": str | None,
    "actor_type": str | None,
    "actor_id": str | None,
    "actor_name": str | None,
    "subject_type": str | None,
    "subject_id": str | None,
    "input_summary": str | None,
    "input_ref": None | str,
    "raw_ref": str | None,
    "seq": int,
    "cursor": str,
    "created_at": int,
    "metadata": dict,
}


def add_event(caller, event_id, kind="message.received", **fields):
    return EventLog.objects.create(
        workspace=caller.run.workspace,
        conversation=caller.run.conversation,
        source="user:1",
        event_id=event_id,
        type=kind,
        time=datetime.now(UTC),
        trigger_source="webui",
        outcome="recorded",
        **fields,
    )


def test_an_event_is_told_without_its_payload(caller):
    add_event(
        caller,
        "e1",
        actor={"type": "user", "id": 7, "name": "Ada"},
        subject={"type": "message", "id": "m1", "data": {"x": 1}},
        input={"text": "secret"},
        data={"raw": "secret"},
        raw_ref={"ref_id": "r1", "storage_key": "hidden"},
    )
    record = caller("event_get", event_id="e1")
    assert record.keys() == SHAPE.keys()
    assert all(isinstance(record[name], kind) for name, kind in SHAPE.items())
    assert (record["actor_id"], record["actor_name"]) == ("7", "Ada")
    assert (record["subject_id"], record["raw_ref"]) == ("m1", "r1")
    assert "secret" not in str(record)
    assert "hidden" not in str(record)


def test_events_come_in_pages_newest_first(caller):
    for number in range(5):
        kind = "message.received" if number % 2 else "member.joined"
        add_event(caller, f"e{number}", kind)
    first = caller("event_page", limit=2)
    assert [one["event_id"] for one in first["items"]] == ["e4", "e3"]
    assert (first["has_more"], first["total_count"]) == (True, None)
    assert first["next_cursor"] == first["items"][-1]["cursor"]
    second = caller("event_page", limit=100, before_cursor=first["next_cursor"])
    ids = [one["event_id"] for one in second["items"]]
    assert ids == ["e2", "e1", "e0", caller.run.event.event_id]
    assert (second["has_more"], second["next_cursor"]) == (False, None)
    joined = caller("event_page", event_types=["member.joined"])
    assert [one["event_id"] for one in joined["items"]] == ["e4", "e2", "e0"]


def reset_before(caller, event):
    marker = TranscriptItem.objects.create(
        conversation=caller.run.conversation, seq=1, role="user", event=event
    )
    Conversation.objects.filter(pk=caller.run.conversation_id).update(
        context_seq=marker.seq
    )


def test_what_was_before_a_reset_is_gone(caller, caller_of):
    add_events(caller.run, ("run.queued", {}))
    old = add_event(caller, "old")
    later = caller_of(beside=caller)
    reset_before(caller, old)
    assert later.refused("event_get", event_id="old") == "not_found"
    assert later("event_get", event_id=later.run.event.event_id)
    assert len(later("event_page")["items"]) == 1
    assert [one["id"] for one in later("run_list")["items"]] == [later.run.pk]
    target = {"target_run_id": str(caller.run.public_id)}
    assert later.refused("run_events_page", **target) == "not_found"


def test_other_conversations_do_not_exist(caller, caller_of):
    others = [caller_of(), caller_of(place=WorkspaceFactory.create())]
    for other in others:
        event_id = other.run.event.event_id
        assert caller.refused("event_get", event_id=event_id) == "not_found"
        named = {"conversation_id": other.facts.conversation_public_id}
        for action in ("event_page", "run_list"):
            assert caller.refused(action, **named) == "permission_denied"
        target = {"target_run_id": str(other.run.public_id)}
        assert caller.refused("run_events_page", **target) == "not_found"
    assert len(caller("event_page")["items"]) == 1
    assert caller("run_list")["total_count"] == 1


@pytest.mark.parametrize(
    ("action", "data", "permissions"),
    [
        ("event_get", {"event_id": "e"}, {"events": ["page"]}),
        ("event_page", {}, {"events": ["get"]}),
        ("run_list", {}, {"history": ["search"]}),
    ],
)
def test_the_manifest_has_to_ask_for_it(caller_of, action, data, permissions):
    caller = caller_of(permissions)
    assert caller.facts.access.apis[action] is False
    assert caller.refused(action, **data) == "permission_denied"


@pytest.mark.parametrize(
    ("action", "data"),
    [
        ("event_get", {}),
        ("event_page", {"before_cursor": "x"}),
        ("event_page", {"limit": 0}),
        ("event_page", {"event_types": "message.received"}),
        ("run_list", {"statuses": [1]}),
        ("run_events_page", {}),
        ("run_events_page", {"target_run_id": "r", "direction": "sideways"}),
    ],
)
def test_wrong_requests_are_refused(caller, action, data):
    assert caller.refused(action, **data) == "invalid_request"


@pytest.mark.parametrize("cursor", [str(2**70), -1, 0])
def test_any_number_is_a_cursor(caller, cursor):
    caller("event_page", before_cursor=cursor)
    caller("run_list", before_cursor=cursor)
    target = str(caller.run.public_id)
    caller(
        "run_events_page",
        target_run_id=target,
        before_cursor=cursor,
        after_cursor=cursor,
    )


def test_runs_of_the_conversation_are_listed(caller, caller_of):
    runs = [caller, *(caller_of(beside=caller) for _ in range(2))]
    page = caller("run_list", limit=2)
    assert [one["run_id"] for one in page["items"]] == [
        str(one.run.public_id) for one in reversed(runs[1:])
    ]
    assert (page["has_more"], page["total_count"]) == (True, 3)
    rest = caller("run_list", before_cursor=page["next_cursor"])
    assert [one["id"] for one in rest["items"]] == [caller.run.pk]
    own = caller("run_get", target_run_id=str(caller.run.public_id))
    assert own.items() <= rest["items"][0].items()
    assert caller("run_list", statuses=["failed"])["items"] == []
    assert caller("run_list", statuses=["completed"])["total_count"] == 2


def test_a_ledger_is_paged_in_both_directions(caller):
    add_events(caller.run, *((f"t{n}", {"n": n}) for n in range(1, 6)))
    target = {"target_run_id": str(caller.run.public_id), "limit": 2}
    page = caller("run_events_page", **target)
    first = page["items"][0]
    assert first["data"] == {"n": 1}
    assert first.keys() == {
        *("id", "run_id", "sequence", "type", "data", "usage"),
        *("created_at", "source", "metadata"),
    }
    assert [one["sequence"] for one in page["items"]] == [1, 2]
    page = caller("run_events_page", after_cursor=page["next_cursor"], **target)
    assert [one["sequence"] for one in page["items"]] == [3, 4]
    page = caller("run_events_page", direction="backward", **target)
    assert [one["sequence"] for one in page["items"]] == [5, 4]
    page = caller(
        "run_events_page",
        direction="backward",
        before_cursor=page["next_cursor"],
        **target,
    )
    assert [one["sequence"] for one in page["items"]] == [3, 2]


def test_another_run_is_read_by_who_may_read_the_history(caller, caller_of):
    add_events(caller.run, ("run.queued", {}))
    target = {"target_run_id": str(caller.run.public_id)}
    friend, stranger = caller_of(beside=caller), caller_of({}, beside=caller)
    assert len(friend("run_events_page", **target)["items"]) == 1
    assert stranger.refused("run_events_page", **target) == "not_found"
    own = {"target_run_id": str(stranger.run.public_id)}
    assert stranger("run_events_page", **own)["items"] == []
