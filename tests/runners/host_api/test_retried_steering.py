"""A turn that is tried again gets what joined it while it ran: in order, and once.

LB-82 to LB-85: by whatever way it is tried again, the next attempt's runner is given
the steered messages as the first was, and the audit of each names who took it up.
"""

import pytest
from django.urls import reverse

from agents.models import RunnerDescriptor
from runners.branches import regenerate
from runners.choices import RunStatus
from runners.errors import ConversationBusyError
from runners.ledger.batches import Ending, end_run
from runners.ledger.finishing import Reply
from runners.ledger.history import transcript_page
from runners.models import AgentRun, EventLog, QueuedMessage, RunEvent, TranscriptItem
from runners.retries import retry_run
from runners.services import request_cancel
from tests.runners.host_api.conftest import EVERYTHING, Caller
from tests.runners.ledger.test_fence import in_threads
from tests.runners.test_admission import admit, finish, message
from tests.support.load import broken_ledgers

ROUNDS = 5


@pytest.fixture
def steered(caller_of):
    """An agent whose runner pulls messages and reads the transcript."""
    return caller_of(EVERYTHING, capabilities={"steering": True}).run.agent


def carry(run):
    """Carry a queued run as a worker does."""
    AgentRun.objects.filter(pk=run.pk).update(status="running")
    return Caller(AgentRun.objects.get(pk=run.pk))


def pull(caller):
    return [one["input"]["text"] for one in caller("steering_pull")["items"]]


def history(caller):
    items = caller("history_page", limit=100)["items"]
    return [one["content"] for one in reversed(items) if one["role"] != "system"]


def live(conversation):
    return AgentRun.objects.live().filter(conversation=conversation).first()


def said(conversation):
    rows = transcript_page(conversation.pk, direction="forward").items
    return [row.text for row in rows if row.role != "system"]


def told(run):
    events = RunEvent.objects.filter(run=run, type="steering.queued").order_by("seq")
    return [[one["text"] for one in event.data["messages"]] for event in events]


def fail(run):
    ending = Ending(RunStatus.FAILED, "runner.error", "broken")
    end_run(run.pk, run.conversation_id, ending)


def stop(run):
    request_cancel(run, "")
    partly = Reply("half", complete=False)
    ending = Ending(RunStatus.CANCELLED, "cancelled", "cancelled", reply=partly)
    end_run(run.pk, run.conversation_id, ending)


ENDINGS = {"failed": fail, "cancelled": stop, "completed": finish}


def begun(agent, *texts, **more):
    """Return the run of the first message, which has taken up the others."""
    first, *others = texts
    run = admit(message(agent, first, **more)).run
    caller = carry(run)
    for text in others:
        admit(message(agent, text, **more))
        assert pull(caller) == [text]
    return caller.run


@pytest.fixture
def failed(steered):
    run = begun(steered, "one", "two", "three")
    fail(run)
    return run


def by_code(run, api_client, admin_client):
    retry_run(AgentRun.objects.get(pk=run.pk), "ada")


def by_rest(run, api_client, admin_client):
    assert api_client.post(f"/api/v1/runs/{run.public_id}/retry/").status_code == 201


def by_page(run, api_client, admin_client):
    admin_client.post(
        reverse("admin:langbot_runners_agentrun_act", args=[run.pk, "retry"])
    )


def by_list(run, api_client, admin_client):
    act = {"action": "retry", "_selected_action": [run.pk]}
    admin_client.post(reverse("admin:langbot_runners_agentrun_changelist"), act)


@pytest.mark.parametrize("way", [by_code, by_rest, by_page, by_list])
def test_the_next_attempt_gets_what_joined_the_turn(
    failed, api_client, admin_client, way
):
    way(failed, api_client, admin_client)
    again = live(failed.conversation)
    assert again.attempt == 2
    assert told(again) == [["two", "three"]]
    caller = carry(again)
    assert caller.run.event.input["text"] == "one"
    assert pull(caller) == ["two", "three"]
    assert pull(caller) == []
    finish(again, "to all")
    assert live(failed.conversation) is None
    assert broken_ledgers([again.pk]) == []


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
def test_who_reads_the_transcript_finds_each_once_behind_the_first(steered, end):
    run = begun(steered, "one", "two", "three")
    end(run)
    caller = carry(retry_run(AgentRun.objects.get(pk=run.pk), "ada"))
    before = [text for text in history(caller) if text not in {"half", "done"}]
    assert before == ["one"]
    assert pull(caller) == ["two", "three"]
    assert history(caller)[-2:] == ["two", "three"]
    found = caller("history_search", query="three")["items"]
    assert [one["content"] for one in found] == ["three"]
    finish(caller.run, "to all")
    assert said(run.conversation)[-3:] == ["two", "three", "to all"]
    events = [one["input_summary"] for one in caller("event_page")["items"]]
    assert [events.count(text) for text in ("one", "two", "three")] == [1, 1, 1]
    runs = {one["run_id"] for one in caller("run_list", limit=100)["items"]}
    assert {str(run.public_id), str(caller.run.public_id)} <= runs


def test_the_audit_names_who_took_it_up_last(failed, api_client):
    url = f"/api/v1/events/{event_of('two').public_id}/"

    def steering():
        found = api_client.get(url).json()["steering"]
        return found["status"], found["claimed_by_run_id"]

    assert steering() == ("injected", str(failed.public_id))
    again = carry(retry_run(AgentRun.objects.get(pk=failed.pk), "ada"))
    assert steering() == ("queued", None)
    pull(again)
    assert steering() == ("injected", str(again.run.public_id))
    (injected,) = again.told.events
    texts = [one["text"] for one in injected.data["messages"]]
    assert (injected.type, texts) == ("steering.injected", ["two", "three"])


def event_of(text):
    return EventLog.objects.get(input__text=text)


def test_a_runner_that_pulls_nothing_answers_each_in_its_turn(failed, api_client):
    RunnerDescriptor.objects.update(capabilities={})
    again = retry_run(AgentRun.objects.get(pk=failed.pk), "ada")
    assert told(again) == []
    for text in ("one", "two", "three"):
        finish(carry(live(failed.conversation)).run, f"re {text}")
    assert live(failed.conversation) is None
    pairs = ["two", "re two", "three", "re three"]
    assert said(failed.conversation) == ["one", "re one", *pairs]
    url = f"/api/v1/events/{event_of('two').public_id}/"
    assert api_client.get(url).json()["steering"] is None  # it had a run of its own


def test_it_is_tried_again_and_again(failed):
    second = carry(retry_run(AgentRun.objects.get(pk=failed.pk), "ada"))
    assert pull(second) == ["two", "three"]
    admit(message(failed.agent, "four"))
    assert pull(second) == ["four"]
    fail(second.run)
    # Of the turn, not of one attempt: whichever of them is tried again.
    third = carry(retry_run(AgentRun.objects.get(pk=failed.pk), "ada"))
    assert pull(third) == ["two", "three", "four"]
    finish(third.run, "to all")
    assert said(failed.conversation) == ["one", "two", "three", "four", "to all"]
    item = TranscriptItem.objects.get(text="to all")
    assert told(regenerate(item, "ada").run) == [["two", "three", "four"]]


def test_later_turns_keep_what_joined_them(failed):
    later = begun(failed.agent, "four", "five")
    finish(later, "to both")
    again = carry(retry_run(AgentRun.objects.get(pk=failed.pk), "ada"))
    assert pull(again) == ["two", "three"]
    assert said(failed.conversation) == [
        *("one", "four", "five", "to both"),
        *("two", "three"),
    ]
    assert event_of("five").queued_message.run == later


def test_what_had_its_own_turn_does_not_come_back(failed):
    RunnerDescriptor.objects.update(capabilities={})
    retry_run(AgentRun.objects.get(pk=failed.pk), "ada")
    while (run := live(failed.conversation)) is not None:
        finish(run)
    RunnerDescriptor.objects.update(capabilities={"steering": True})
    again = carry(retry_run(AgentRun.objects.get(pk=failed.pk), "ada"))
    assert (told(again.run), pull(again)) == ([], [])


def test_what_a_turn_answered_with_its_message_stays_before_it(steered):
    """A message that came before the one that began the turn is history (AG-11)."""
    first = begun(steered, "one")
    admit(message(steered, "two"))
    steered.multitask_strategy = "interrupt"
    steered.save()
    admit(message(steered, "three"))
    stop(first)
    turn = live(first.conversation)
    assert said(first.conversation) == ["one", "half", "two", "three"]
    fail(carry(turn).run)
    again = retry_run(AgentRun.objects.get(pk=turn.pk), "ada")
    assert not QueuedMessage.objects.waiting().exists()
    assert history(carry(again)) == ["one", "half", "two", "three"]


def test_what_joined_an_event_without_words_waits_again_too(steered):
    caller = carry(admit(message(steered, "one", type="schedule.due")).run)
    run = caller.run
    for text in ("two", "three"):
        admit(message(steered, text))
    assert pull(caller) == ["two", "three"]
    fail(run)
    again = carry(retry_run(AgentRun.objects.get(pk=run.pk), "ada"))
    assert pull(again) == ["two", "three"]
    assert said(run.conversation) == ["two", "three"]


def test_what_was_rolled_back_is_not_said_again(steered):
    run = begun(steered, "one", "two")
    steered.multitask_strategy = "rollback"
    steered.save()
    admit(message(steered, "instead"))
    stop(AgentRun.objects.get(pk=run.pk))
    finish(carry(live(run.conversation)).run, "better")
    again = carry(retry_run(AgentRun.objects.get(pk=run.pk), "ada"))
    assert pull(again) == []
    assert history(again) == ["instead", "better"]


def test_what_the_queue_has_forgotten_waits_again_too(failed):
    QueuedMessage.objects.all().delete()  # as retention does
    again = carry(retry_run(AgentRun.objects.get(pk=failed.pk), "ada"))
    assert pull(again) == ["two", "three"]


@pytest.mark.django_db(transaction=True)
def test_of_two_retries_at_once_one_gets_all(steered):
    for number in range(ROUNDS):
        run = begun(steered, "one", "two", "three", conversation=f"room {number}")
        fail(run)

        def retry(run=run):
            try:
                return retry_run(AgentRun.objects.get(pk=run.pk), "ada")
            except ConversationBusyError:
                return None

        attempts = [one for one in in_threads(retry, retry) if one is not None]
        assert [one.attempt for one in attempts] == [2]
        assert pull(carry(attempts[0])) == ["two", "three"]
        assert said(run.conversation) == ["one", "two", "three"]
