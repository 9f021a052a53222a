"""The one way in: nothing twice, nothing lost, one live run per conversation."""

from typing import Any
from uuid import uuid4

import pytest

from agents.models import AgentBinding
from langbot.lib.conf import limits
from runners import admission
from runners.admission import BotRef, Incoming
from runners.choices import QueuedStatus, RunStatus
from runners.errors import (
    AgentUnavailableError,
    EmptyMessageError,
    InputTooLargeError,
    QueueFullError,
)
from runners.ledger.batches import Ending, end_run
from runners.ledger.finishing import Reply
from runners.models import AgentRun, Conversation, EventLog, QueuedMessage
from tests.factories import AgentFactory, BotFactory, WorkspaceFactory
from tests.runners.ledger.test_fence import in_threads

ROUNDS = 15
# Parts of the answer are optional; a test knows which ones it gets.
admit: Any = admission.admit


def message(who, text="hello", conversation="room", **more):
    given = {
        "workspace": who.workspace,
        "source": "test:1",
        "event_id": str(uuid4()),
        "type": "message.received",
        "trigger_source": "api",
        "agent": who,
        "external_conversation": conversation,
        "input": {"text": text},
    }
    return Incoming(**{**given, **more})


def finish(run, text="done"):
    ending = Ending(RunStatus.COMPLETED, reply=Reply(text))
    AgentRun.objects.filter(pk=run.pk, status="queued").update(status="running")
    return end_run(run.pk, run.conversation_id, ending)


def test_an_idle_conversation_starts_a_run(agent):
    admitted = admit(message(agent))
    assert admitted.status == "started"
    assert admitted.run.status == RunStatus.QUEUED
    assert list(admitted.run.events.values_list("seq", "type")) == [(1, "run.queued")]
    assert admitted.conversation.transcript.get().text == "hello"


def numbers(conversation):
    conversation.refresh_from_db()
    said = conversation.transcript.order_by("seq").values_list("seq", flat=True)
    return [*said, conversation.transcript_seq]


def test_items_are_numbered_from_the_first_message_on(agent):
    first = admit(message(agent))
    assert numbers(first.conversation) == [1, 1]
    finish(first.run)
    assert numbers(first.conversation) == [1, 2, 2]
    assert admit(message(agent)).conversation == first.conversation
    assert numbers(first.conversation) == [1, 2, 3, 3]


def test_an_event_that_nobody_says_counts_as_no_item(agent):
    silent = admit(message(agent, conversation="quiet", type="member.joined"))
    assert numbers(silent.conversation) == [0]
    finish(silent.run)
    admit(message(agent, conversation="quiet"))
    assert numbers(silent.conversation) == [1, 2, 2]


def test_a_repeat_returns_the_same_run(agent):
    first = admit(message(agent, event_id="e1"))
    again = admit(message(agent, text="other", event_id="e1"))
    assert (again.status, again.run) == ("duplicate", first.run)
    assert EventLog.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_copies_that_race_make_one_run(agent):
    for number in range(ROUNDS):
        copies = [
            lambda number=number: admit(
                message(agent, event_id=f"e{number}", conversation=f"c{number}")
            )
            for _ in range(5)
        ]
        statuses = sorted(one.status for one in in_threads(*copies))
        assert statuses == ["duplicate"] * 4 + ["started"]
    assert AgentRun.objects.count() == ROUNDS


def test_a_busy_conversation_queues_and_promotes_in_order(agent):
    first = admit(message(agent, "one"))
    waiting = [admit(message(agent, text)) for text in ("two", "three")]
    assert [one.status for one in waiting] == ["queued", "queued"]
    assert [one.buffer_length for one in waiting] == [1, 2]
    finish(first.run, "answer one")
    second = AgentRun.objects.live().get()
    assert second.event == waiting[0].event
    finish(second, "answer two")
    finish(AgentRun.objects.live().get(), "answer three")
    said = first.conversation.transcript.order_by("seq").values_list("text", flat=True)
    expected = ["one", "answer one", "two", "answer two", "three", "answer three"]
    assert list(said) == expected
    promoted = QueuedMessage.objects.filter(status=QueuedStatus.PROMOTED)
    assert promoted.exclude(run=None).count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_message_that_meets_an_ending_run_is_never_lost(agent):
    for number in range(ROUNDS):
        room = f"room {number}"
        run = admit(message(agent, conversation=room)).run
        outcomes = in_threads(
            lambda run=run: finish(run),
            lambda room=room: admit(message(agent, "late", conversation=room)),
        )
        assert len(outcomes) == 2
        live = AgentRun.objects.live().get(conversation=run.conversation)
        assert live.event.input["text"] == "late"
        assert not run.conversation.queue.filter(status="queued").exists()


@pytest.mark.django_db(transaction=True)
def test_one_live_run_however_many_messages_arrive(agent):
    senders = [lambda n=n: admit(message(agent, f"m{n}")) for n in range(6)]
    statuses = sorted(one.status for one in in_threads(*senders))
    assert statuses == ["queued"] * 5 + ["started"]
    assert AgentRun.objects.live().count() == 1


def test_a_full_queue_refuses_the_newcomer(agent):
    for _ in range(limits().follow_ups + 1):
        admit(message(agent))
    with pytest.raises(QueueFullError):
        admit(message(agent, event_id="refused"))
    assert not EventLog.objects.filter(event_id="refused").exists()


def test_an_event_without_an_agent_is_kept_as_ignored(workspace, agent):
    admitted = admit(message(agent, agent=None))
    assert admitted.status == "ignored"
    assert admitted.event.outcome_reason == "no binding matches"


def test_a_tie_of_bindings_is_a_visible_error(agent):
    other: Any = AgentFactory(workspace=agent.workspace)
    for one in (agent, other):
        AgentBinding.objects.create(agent=one, scope="workspace")
    admitted = admit(message(agent, agent=None))
    assert admitted.status == "ignored"
    assert "tie" in admitted.event.outcome_reason


def test_the_most_specific_binding_answers(agent):
    bot: Any = BotFactory(workspace=agent.workspace, slug="support")
    everywhere: Any = AgentFactory(workspace=agent.workspace)
    AgentBinding.objects.create(agent=everywhere, scope="workspace", priority=9)
    AgentBinding.objects.create(agent=agent, scope="bot", scope_ref="support")
    reference = BotRef(bot.public_id, bot.slug)
    assert admit(message(agent, agent=None, bot=reference)).run.agent == agent


def test_another_workspace_is_never_answered(agent):
    AgentBinding.objects.create(agent=agent, scope="workspace")
    stranger = WorkspaceFactory(slug="elsewhere")
    assert admit(message(agent, agent=None, workspace=stranger)).status == "ignored"


def test_people_with_sessions_of_their_own_never_wait(agent):
    agent.session_scope = "actor"
    agent.save()
    statuses = [
        admit(message(agent, actor={"id": who, "type": "user"})).status
        for who in ("ann", "bob", "ann")
    ]
    assert statuses == ["started", "started", "queued"]


def test_threads_never_wait_for_each_other(agent):
    statuses = [admit(message(agent, thread=name)).status for name in ("a", "b", "a")]
    assert statuses == ["started", "started", "queued"]


def test_keys_that_look_alike_are_different_conversations(agent):
    admit(message(agent, conversation="a/b", thread="c"))
    admit(message(agent, conversation="a", thread="b/c"))
    assert Conversation.objects.count() == 2


def test_a_disabled_agent_is_refused(agent):
    agent.enabled = False
    with pytest.raises(AgentUnavailableError):
        admit(message(agent))


@pytest.mark.parametrize("text", ["", " \t\n"])
def test_a_message_that_says_nothing_is_refused(agent, text):
    with pytest.raises(EmptyMessageError, match="empty"):
        admit(message(agent, text))
    assert not EventLog.objects.exists()


@pytest.mark.parametrize(
    "more",
    [
        {"input": {"text": "", "attachments": [{"url": "https://a.test/a.png"}]}},
        {"input": {"text": "", "contents": [{"type": "text", "text": "hi"}]}},
        {"input": {}, "data": {"kind": "poke"}},
        {"input": {"text": ""}, "type": "group.member_joined"},
    ],
)
def test_what_brings_something_else_needs_no_text(agent, more):
    assert admit(message(agent, **more)).status == "started"


def test_a_text_over_the_limit_is_refused(agent):
    with pytest.raises(InputTooLargeError):
        admit(message(agent, "x" * (limits().follow_up_characters + 1)))
    assert not EventLog.objects.exists()
