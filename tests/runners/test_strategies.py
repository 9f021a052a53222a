"""What a second message does: wait, be refused, stop what is under way, forget it."""

import random
import threading
from uuid import uuid4

import pytest

from agents.choices import MultitaskStrategy
from agents.models import RunnerDescriptor
from runners.choices import EventType, QueuedStatus, RunStatus
from runners.errors import AdmissionError, ConversationBusyError, QueueFullError
from runners.ledger.batches import Ending, end_run
from runners.ledger.finishing import Reply
from runners.ledger.history import transcript_page
from runners.ledger.search import search_transcript
from runners.models import AgentRun, Delivery, RunEvent, TranscriptItem
from runners.pending import cancel_message
from tests.factories import AgentFactory, BotFactory
from tests.runners.ledger.test_fence import in_threads
from tests.runners.test_admission import admit, finish, message
from tests.support.ledger import begin
from tests.support.load import broken_ledgers
from tests.support.outcomes import check_outcomes

INTERLEAVINGS = 6  # 100 in `make chaos`
MESSAGES = 6


@pytest.fixture
def with_strategy(workspace):
    def make(strategy, **fields):
        fields = {"workspace": workspace, **fields}
        return AgentFactory.create(multitask_strategy=strategy, **fields)

    return make


def stop(run, text="half"):
    """End a run as its worker does that was asked to."""
    run.refresh_from_db()
    assert run.cancel_requested_at is not None
    partly = Reply(text, complete=False) if text else None
    ending = Ending(RunStatus.CANCELLED, "cancelled", "cancelled", reply=partly)
    return end_run(run.pk, run.conversation_id, ending)


def said(conversation):
    rows = transcript_page(conversation.pk, direction="forward").items
    return [f"{row.role} {row.text}" for row in rows]


def live(conversation):
    return AgentRun.objects.live().filter(conversation=conversation).first()


def test_reject_refuses_while_anything_is_under_way(with_strategy):
    agent = with_strategy("reject")
    first = admit(message(agent, "one"))
    for status in (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.REQUIRES_ACTION):
        AgentRun.objects.filter(pk=first.run.pk).update(status=status)
        with pytest.raises(ConversationBusyError) as refused:
            admit(message(agent, "two"))
        assert refused.value.run_id == first.run.public_id
    AgentRun.objects.filter(pk=first.run.pk).update(status="running")
    finish(first.run)
    assert admit(message(agent, "three")).status == "started"
    assert said(first.conversation) == ["user one", "assistant done", "user three"]


def test_a_repeat_of_the_running_message_is_no_second_one(with_strategy):
    agent = with_strategy("reject")
    first = admit(message(agent, event_id="e"))
    again = admit(message(agent, event_id="e"))
    assert (again.status, again.run) == ("duplicate", first.run)


def test_interrupt_keeps_what_was_said_and_answers_the_new_message(with_strategy):
    agent = with_strategy("interrupt")
    first = admit(message(agent, "one"))
    begin(first.run)
    second = admit(message(agent, "two"))
    assert (second.status, second.live_run) == ("queued", first.run)
    stop(first.run)
    row = TranscriptItem.objects.get(run=first.run, role="assistant")
    assert (row.text, row.metadata) == ("half", {"incomplete": True})
    following = live(first.conversation)
    assert following.event == second.event
    finish(following, "answer")
    expected = ["user one", "assistant half", "user two", "assistant answer"]
    assert said(first.conversation) == expected
    assert broken_ledgers([first.run.pk, following.pk]) == []


@pytest.mark.parametrize("status", [RunStatus.QUEUED, RunStatus.REQUIRES_ACTION])
@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
def test_a_run_that_nobody_carries_ends_at_once(with_strategy, strategy, status):
    agent = with_strategy(strategy)
    first = admit(message(agent, "one"))
    AgentRun.objects.filter(pk=first.run.pk).update(status=status)
    second = admit(message(agent, "two"))
    assert second.status == "started"
    assert live(first.conversation) == second.run
    assert second.run.event == second.event
    first.run.refresh_from_db()
    assert (first.run.status, first.run.error_code) == ("cancelled", "cancelled")
    kept = ["user one"] if strategy == "interrupt" else []
    assert said(first.conversation) == [*kept, "user two"]
    second.message.refresh_from_db()
    assert second.message.status == QueuedStatus.PROMOTED


def test_a_parked_run_that_is_interrupted_keeps_what_it_said(with_strategy):
    agent = with_strategy("interrupt")
    first = admit(message(agent, "one"))
    begin(first.run)
    RunEvent.objects.create(
        run=first.run,
        seq=2,
        type="message.delta",
        data={"text": "half"},
        created_at=first.run.created_at,
    )
    AgentRun.objects.filter(pk=first.run.pk).update(
        status="requires_action", last_seq=2
    )
    assert admit(message(agent, "two")).status == "started"
    expected = ["user one", "assistant half", "user two"]
    assert said(first.conversation) == expected


def test_rollback_forgets_the_turn_and_keeps_the_ledger(with_strategy):
    agent = with_strategy("rollback")
    bot = BotFactory.create(workspace=agent.workspace)
    earlier = admit(message(agent, "zero"))
    finish(earlier.run, "answer zero")
    first = admit(message(agent, "wrong"))
    AgentRun.objects.filter(pk=first.run.pk).update(bot_id=bot.public_id)
    begin(first.run)
    second = admit(message(agent, "right"))
    stop(first.run, "wrong half")
    room = first.conversation
    finish(live(room), "answer")
    kept = ["user zero", "assistant answer zero", "user right", "assistant answer"]
    assert said(room) == kept
    assert search_transcript(room.pk, "wrong", limit=5).items == []
    forgotten = TranscriptItem.objects.filter(run=first.run)
    assert forgotten.exclude(superseded_at=None).count() == forgotten.count() >= 2
    assert not Delivery.objects.filter(run=first.run).exists()
    last = RunEvent.objects.filter(run=first.run).latest("seq")
    assert last.type == EventType.RUN_FAILED
    assert second.event.runs.get().status == "completed"


def test_a_turn_that_ended_well_meanwhile_is_forgotten_all_the_same(with_strategy):
    agent = with_strategy("rollback")
    first = admit(message(agent, "one"))
    begin(first.run)
    admit(message(agent, "two"))
    finish(first.run, "all of it")
    assert said(first.conversation) == ["user two"]


def test_a_message_that_is_taken_back_forgets_nothing(with_strategy):
    agent = with_strategy("rollback")
    first = admit(message(agent, "one"))
    begin(first.run)
    second = admit(message(agent, "two"))
    assert cancel_message(second.message)
    stop(first.run)
    assert said(first.conversation) == ["user one", "assistant half"]
    assert live(first.conversation) is None


def test_several_that_stop_are_answered_together_in_order(with_strategy):
    agent = with_strategy("interrupt")
    first = admit(message(agent, "one"))
    begin(first.run)
    later = [admit(message(agent, text)) for text in ("two", "three")]
    stop(first.run, "")
    assert said(first.conversation) == ["user one", "user two", "user three"]
    run = live(first.conversation)
    assert run.event == later[1].event
    for one, status in zip(later, ("injected", "promoted"), strict=True):
        one.message.refresh_from_db()
        assert (one.message.status, one.message.run) == (status, run)


def test_several_that_roll_back_leave_the_last(with_strategy):
    agent = with_strategy("rollback")
    first = admit(message(agent, "one"))
    begin(first.run)
    later = [admit(message(agent, text)) for text in ("two", "three")]
    stop(first.run)
    assert said(first.conversation) == ["user three"]
    later[0].message.refresh_from_db()
    assert later[0].message.status == QueuedStatus.CANCELLED
    assert later[0].message.reason


def test_what_waited_before_is_answered_with_it(with_strategy):
    agent = with_strategy("enqueue")
    first = admit(message(agent, "one"))
    begin(first.run)
    admit(message(agent, "two"))
    agent.multitask_strategy = "rollback"
    agent.save()
    admit(message(agent, "three"))
    stop(first.run)
    assert said(first.conversation) == ["user two", "user three"]
    finish(live(first.conversation), "both")
    assert live(first.conversation) is None


def test_a_full_queue_refuses_those_that_stop_too(with_strategy, settings):
    settings.LANGBOT = {**settings.LANGBOT, "LIMITS": {"follow_ups": 1}}
    agent = with_strategy("interrupt")
    begin(admit(message(agent)).run)
    admit(message(agent))
    with pytest.raises(QueueFullError):
        admit(message(agent))


@pytest.mark.parametrize("strategy", ["reject", "interrupt", "rollback"])
def test_what_is_no_message_waits_for_its_turn(with_strategy, strategy):
    agent = with_strategy(strategy)
    first = admit(message(agent))
    begin(first.run)
    answer = admit(message(agent, type="interaction.submitted", input={}))
    assert (answer.status, answer.message.mode) == ("queued", "enqueue")
    first.run.refresh_from_db()
    assert first.run.cancel_requested_at is None


def test_a_remotely_held_run_is_asked_to_stop(with_strategy):
    agent = with_strategy("interrupt")
    run = admit(message(agent, metadata={"queue_name": "far"})).run
    begin(run)
    AgentRun.objects.filter(pk=run.pk).update(node=uuid4())
    assert admit(message(agent, "two")).status == "queued"
    stop(run)
    assert live(run.conversation).event.input["text"] == "two"


def test_rest_and_webhooks_say_so(api_client, with_strategy):
    agent = with_strategy("reject")
    room = api_client.post("/api/v1/conversations/", {"key": "c"}, format="json")
    url = f"/api/v1/conversations/{room.json()['id']}/messages/"
    posts = [
        api_client.post(url, {"text": text, "agent": agent.slug}, format="json")
        for text in ("one", "two")
    ]
    assert [post.status_code for post in posts] == [201, 409]
    problem = posts[1].json()
    assert problem["code"] == "conversation_busy"
    assert problem["turn_in_flight"] == posts[0].json()["run_id"]


class Player:
    """Messages and a worker on one conversation, in an order that chance makes."""

    def __init__(self, agent, seed):
        self.agent, self.chance = agent, random.Random(seed)  # noqa: S311
        self.room = f"room-{seed}"
        self.accepted, self.refused, self.is_over = [], [], threading.Event()
        self.patient = {}  # run -> how many messages there were when it began

    def talk(self):
        try:
            for number in range(MESSAGES):
                self.say(f"{number}")
                self.is_over.wait(self.chance.uniform(0, 0.02))
        finally:
            self.is_over.set()

    def say(self, text):
        given = message(self.agent, text, self.room, is_internal=True)
        try:
            self.accepted.append((text, admit(given)))
        except AdmissionError as error:
            self.refused.append((text, error.code))

    def work(self):
        """Carry every run of the room, and stop those that are to be stopped."""
        while not self.is_over.is_set() or self.runs().live().exists():
            run = self.runs().live().first()
            if run is None:
                self.is_over.wait(0.001)
            elif run.status == "queued":
                # By its own columns: through a join PostgreSQL compares the old row.
                waiting = AgentRun.objects.filter(pk=run.pk, status="queued")
                waiting.update(status="running", snapshot={}, started_at=run.created_at)
            elif run.cancel_requested_at is not None:
                stop(run, "half")
            elif self.may_end(run):
                finish(run, "done")

    def may_end(self, run):
        """Whether it is time; half of the runs wait until another message has come."""
        tried = len(self.accepted) + len(self.refused)
        since = self.patient.setdefault(run.pk, self.chance.choice([-1, tried]))
        return tried > since or tried == MESSAGES or self.is_over.is_set()

    def runs(self):
        return AgentRun.objects.filter(conversation__key__contains=self.room)


def play(agent, seed):
    """Play one interleaving; return who was answered, refused and in which order."""
    player = Player(agent, seed)
    in_threads(player.talk, player.work)
    assert len(player.accepted) + len(player.refused) == MESSAGES
    check_outcomes(agent.multitask_strategy, player.accepted)
    return player


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("strategy", MultitaskStrategy.values)
def test_nothing_is_lost_whatever_the_interleaving(with_strategy, strategy):
    agent = with_strategy(strategy)
    outcomes = [play(agent, f"{strategy}-{n}-") for n in range(INTERLEAVINGS)]
    refused = sum(len(one.refused) for one in outcomes)
    cancelled = AgentRun.objects.filter(status="cancelled")
    if strategy == "enqueue":
        assert AgentRun.objects.filter(status="completed").count() == (
            INTERLEAVINGS * MESSAGES
        )
    elif strategy == "reject":
        assert refused and not cancelled.exists()
    else:
        assert cancelled.exists()


def test_a_runner_that_can_be_steered_is_stopped_all_the_same(with_strategy):
    agent = with_strategy("interrupt")
    RunnerDescriptor.objects.create(
        runner_id=agent.runner_id,
        plugin="langbot/echo",
        kind="Runner",
        capabilities={"steering": True},
    )
    first = admit(message(agent, "one"))
    begin(first.run)
    second = admit(message(agent, "two"))
    assert second.message.mode == "interrupt"
