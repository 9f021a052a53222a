"""What was replaced or rolled back leaves host calls and pages; the ledger stays."""

import pytest
from asgiref.sync import async_to_sync

from agents.choices import MultitaskStrategy
from runners.branches import regenerate, say_after
from runners.choices import RunStatus
from runners.host_api.calls import HostCall
from runners.host_api.own_runs import run_cancel
from runners.ledger.batches import Ending, end_run
from runners.ledger.finishing import Reply
from runners.ledger.journal import CallKey
from runners.models import AgentRun, EventLog, RunEvent, TranscriptItem
from runners.protocol.errors import ProtocolError
from runners.resets import reset_conversation
from runners.retries import retry_run
from tests.runners.host_api.conftest import Caller, Inline
from tests.runners.test_admission import admit, finish, message


class Talk:
    """One conversation of an agent, and what a live run of it may read."""

    def __init__(self, agent):
        self.agent = agent
        self.runs = {}

    def say(self, text):
        self.runs[text] = admit(message(self.agent, text)).run
        finish(self.runs[text], f"re {text}")

    def item(self, text):
        return TranscriptItem.objects.select_related("run").get(text=text)

    def caller(self, run):
        """Carry a run as a worker does."""
        AgentRun.objects.filter(pk=run.pk).update(status="running")
        return Caller(AgentRun.objects.get(pk=run.pk))


@pytest.fixture
def talk(caller_of):
    agent = caller_of().run.agent
    talk = Talk(agent)
    for text in ("one", "two", "three"):
        talk.say(text)
    return talk


def seen(caller):
    """Return what each host call that lists something tells, oldest first."""
    calls = {
        "history": caller("history_page", limit=100)["items"],
        "events": caller("event_page", limit=100)["items"],
        "runs": caller("run_list", limit=100)["items"],
    }
    found = {name: list(reversed(items)) for name, items in calls.items()}
    return {
        "history": [one["content"] for one in found["history"]],
        "events": [one["input_summary"] for one in found["events"]],
        "runs": [one["id"] for one in found["runs"]],
    }


def refused(caller, call, action, **data):
    key = CallKey(caller.run.pk, 1, 900, action)
    with pytest.raises(ProtocolError) as error:
        async_to_sync(call)(HostCall(caller.facts, data, Inline(), key))
    return error.value.code


def assert_unknown(caller, run):
    """Nothing tells the run from one that never was, whatever is asked of it."""
    target = {"target_run_id": str(run.public_id)}
    assert caller.refused("run_events_page", **target) == "not_found"
    assert refused(caller, run_cancel, "run_cancel", **target) == "not_found"


def assert_kept(runs):
    """The ledger has everything, and staff read it."""
    for run in runs:
        assert RunEvent.objects.filter(run=run).exists()
        assert EventLog.objects.filter(pk=run.event_id).exists()


def test_a_reply_made_anew(talk):
    run = run_of(regenerate(talk.item("two"), "ada"))
    caller = talk.caller(run)
    first, *gone = (talk.runs[text] for text in ("one", "two", "three"))
    assert seen(caller) == {
        "history": ["one", "re one", "two"],
        "events": ["one", "re one", "two"],
        "runs": [first.pk, run.pk],
    }
    for text in ("re two", "three"):
        found = caller("history_search", query=text)["items"]
        assert text not in [one["content"] for one in found]
    for one in gone:
        assert_unknown(caller, one)
    assert_unknown_event(caller, talk.runs["three"])
    assert caller("event_get", event_id=run.event.event_id)
    assert caller("run_events_page", target_run_id=str(run.public_id))["items"]
    assert caller("run_list")["total_count"] == 2
    assert_kept(talk.runs.values())


def run_of(admitted):
    assert admitted.run is not None
    return admitted.run


def assert_unknown_event(caller, run):
    assert caller.refused("event_get", event_id=run.event.event_id) == "not_found"


def test_a_reply_made_anew_twice_is_the_last_one(talk):
    second = run_of(regenerate(talk.item("three"), "ada"))
    finish(second, "better")
    third = run_of(regenerate(talk.item("three"), "ada"))
    caller = talk.caller(third)
    one, two, three = talk.runs.values()
    assert seen(caller)["runs"] == [one.pk, two.pk, third.pk]
    for gone in (three, second):
        assert_unknown(caller, gone)
    finish(third, "best")
    following = talk.caller(run_of(admit(message(talk.agent, "four"))))
    told = seen(following)
    assert told["events"][-3:] == ["three", "best", "four"]
    assert told["history"][-3:] == ["three", "best", "four"]


def test_other_words_after_an_earlier_message(talk):
    said = run_of(say_after(talk.item("re one"), message(talk.agent, "instead")))
    caller = talk.caller(said)
    assert seen(caller) == {
        "history": ["one", "re one", "instead"],
        "events": ["one", "re one", "instead"],
        "runs": [talk.runs["one"].pk, said.pk],
    }
    for text in ("two", "three"):
        assert_unknown(caller, talk.runs[text])
        assert_unknown_event(caller, talk.runs[text])
    assert_kept(talk.runs.values())


@pytest.fixture
def rolled_back(talk):
    """Return the run whose turn was forgotten, and the one that came instead."""
    talk.agent.multitask_strategy = MultitaskStrategy.ROLLBACK
    talk.agent.save()
    wrong = run_of(admit(message(talk.agent, "wrong")))
    AgentRun.objects.filter(pk=wrong.pk).update(status="running")
    admit(message(talk.agent, "right"))
    partly = Reply("wrong half", complete=False)
    ending = Ending(RunStatus.CANCELLED, "cancelled", "cancelled", reply=partly)
    end_run(wrong.pk, wrong.conversation_id, ending)
    right = AgentRun.objects.live().get(conversation=wrong.conversation_id)
    return wrong, right


def test_a_turn_that_was_rolled_back(talk, rolled_back):
    wrong, right = rolled_back
    caller = talk.caller(right)
    told = seen(caller)
    assert told["history"][-3:] == told["events"][-3:] == ["three", "re three", "right"]
    assert told["runs"] == [*(run.pk for run in talk.runs.values()), right.pk]
    assert_unknown(caller, wrong)
    assert_unknown_event(caller, wrong)
    assert caller("history_search", query="wrong")["items"] == []
    assert_kept([wrong])


def test_a_rolled_back_turn_that_is_tried_again_sees_its_own_event(talk, rolled_back):
    wrong, right = rolled_back
    finish(right)
    again = retry_run(AgentRun.objects.get(pk=wrong.pk), "ada")
    caller = talk.caller(again)
    assert caller("event_get", event_id=wrong.event.event_id)
    assert_unknown(caller, wrong)
    assert seen(caller)["runs"][-2:] == [right.pk, again.pk]


def test_what_nothing_was_said_about_stays(talk):
    """A run that failed, and an event that only was noted, replaced nothing."""
    reset_conversation(talk.runs["one"].conversation, "ada")
    first = run_of(admit(message(talk.agent, "four")))
    end_run(
        first.pk, first.conversation_id, Ending(RunStatus.FAILED, "runner.error", "x")
    )
    caller = talk.caller(run_of(admit(message(talk.agent, "five"))))
    assert seen(caller)["runs"] == [first.pk, caller.run.pk]
    assert seen(caller)["events"] == ["four", "five"]


def test_pages_of_the_api_have_none_of_it(talk, rolled_back, api_client):
    place = talk.runs["one"].conversation.public_id
    url = f"/api/v1/conversations/{place}/messages/"
    texts = [row["text"] for row in api_client.get(url).json()["results"]]
    assert texts[:3] == ["right", "re three", "three"]
    pages, following = [], f"{url}?limit=2"
    while following:
        answer = api_client.get(following).json()
        pages += [row["text"] for row in answer["results"]]
        following = answer["next"]
    assert pages == texts
    finish(rolled_back[1], "re right")
    regenerate(talk.item("two"), "ada")
    texts = [row["text"] for row in api_client.get(url).json()["results"]]
    assert texts == ["two", "re one", "one"]
    ledger = f"/api/v1/runs/{rolled_back[0].public_id}/events/"
    assert api_client.get(ledger).json()["results"]
