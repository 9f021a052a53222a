"""AG-39, AG-40: the same words again, before an answer, are the same message."""

import pytest

from runners.choices import QueuedStatus
from runners.models import EventLog
from runners.pending import cancel_message
from runners.services import request_cancel
from tests.runners.test_admission import admit, finish, message
from tests.support.ledger import begin

ADA, BEN = {"id": "ada"}, {"id": "ben"}


def say(agent, text, **more):
    """Send a message without a key of its sender."""
    return admit(message(agent, text, is_first=True, **more))


def test_the_running_messages_words_again_attach_to_its_run(agent):
    first = say(agent, "yes")
    begin(first.run)
    again = say(agent, "yes")
    assert (again.status, again.run, again.event) == (
        "duplicate",
        first.run,
        first.event,
    )
    assert EventLog.objects.count() == 1
    assert first.conversation.transcript.count() == 1


def test_a_waiting_messages_words_again_are_that_message(agent):
    begin(say(agent, "one").run)
    waiting = say(agent, "two")
    again = say(agent, "two")
    assert (again.status, again.message) == ("duplicate", waiting.message)
    assert say(agent, "three").status == "queued"


def test_after_the_answer_they_are_a_new_message(agent):
    finish(say(agent, "yes").run)
    assert say(agent, "yes").status == "started"


def test_after_a_failed_and_a_silent_turn_they_are_a_new_message(agent):
    for number in range(2):
        run = say(agent, "yes").run
        assert run is not None, number
        request_cancel(run, "")
    assert say(agent, "yes").status == "started"


def test_a_run_that_is_being_stopped_answers_nothing_more(agent):
    first = say(agent, "yes")
    begin(first.run)
    request_cancel(first.run, "")
    assert say(agent, "yes").status == "queued"


def test_with_a_key_only_the_key_counts(agent):
    assert admit(message(agent, "yes", event_id="a")).status == "started"
    assert admit(message(agent, "yes", event_id="b")).status == "queued"
    assert admit(message(agent, "no", event_id="b")).status == "duplicate"


def test_two_people_may_say_the_same(agent):
    assert say(agent, "yes", actor=ADA).status == "started"
    assert say(agent, "yes", actor=BEN).status == "queued"
    assert say(agent, "yes", actor=ADA).status == "duplicate"


def test_another_file_is_another_message(agent):
    def given(name):
        file = {"type": "image", "url": f"https://a.test/{name}.png"}
        return {"input": {"text": "look", "attachments": [file]}}

    assert say(agent, "", **given("a")).status == "started"
    assert say(agent, "", **given("b")).status == "queued"
    assert say(agent, "", **given("b")).status == "duplicate"


def test_a_message_taken_back_may_be_said_again(agent):
    say(agent, "one")
    waiting = say(agent, "two")
    assert cancel_message(waiting.message)
    assert say(agent, "two").status == "queued"


def test_events_that_nobody_said_are_never_repeats(agent):
    more = {"type": "sensor.read", "input": {"text": "5"}}
    assert [say(agent, "", **more).status for _ in range(3)] == [
        "started",
        "queued",
        "queued",
    ]


def test_a_repeat_of_an_injected_message_is_answered_by_its_run(agent):
    first = say(agent, "one")
    second = admit(message(agent, "two", event_id="e"))
    second.message.__class__.objects.filter(pk=second.message.pk).update(
        status=QueuedStatus.INJECTED, run=first.run
    )
    again = admit(message(agent, "two", event_id="e"))
    assert (again.status, again.run) == ("duplicate", first.run)


def test_tools_between_two_messages_are_no_answer_to_the_first(agent):
    first = say(agent, "one")
    begin(first.run)
    rows = (("assistant", "tool_call"), ("tool", "tool_result"))
    for seq, (role, kind) in enumerate(rows, 2):
        first.conversation.transcript.create(
            seq=seq, role=role, item_type=kind, run=first.run
        )
    assert say(agent, "one").event == first.event
    first.conversation.transcript.create(seq=4, role="assistant", run=first.run)
    assert say(agent, "one").event != first.event


@pytest.mark.parametrize("kind", ["messages", "events"])
def test_rest_attaches_a_repeat_without_a_key(api_client, agent, kind):
    from tests.factories import AgentBindingFactory

    AgentBindingFactory(agent=agent)
    room = api_client.post("/api/v1/conversations/", {"key": "r"}, format="json")
    if kind == "messages":
        url = f"/api/v1/conversations/{room.json()['id']}/messages/"
        content = {"text": "hello", "agent": agent.slug}
    else:
        url = "/api/v1/events/"
        content = {
            "type": "message.received",
            "conversation": "r",
            "input": {"text": "hello"},
        }
    first, again = (api_client.post(url, content, format="json") for _ in range(2))
    assert again.json()["status"] == "duplicate"
    assert again.json()["run_id"] == first.json()["run_id"]
