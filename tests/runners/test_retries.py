from typing import Any

import pytest

from agents.models import AgentBinding
from langbot.core.models import AuditLog
from runners.admission import BotRef, Incoming, admit
from runners.errors import (
    AgentUnavailableError,
    ConversationBusyError,
    NotEndedError,
    NotReplayableError,
)
from runners.models import AgentRun, EventLog, TranscriptItem
from runners.replays import replay_event
from runners.retries import retry_run
from tests.factories import AgentBindingFactory, BotFactory
from tests.support import ledger


@pytest.fixture
def incoming(workspace):
    def incoming(**content):
        content = {
            "workspace": workspace,
            "source": "api:test",
            "event_id": f"event-{EventLog.objects.count()}",
            "type": "message.received",
            "trigger_source": "api",
            "external_conversation": "room",
            "input": {"text": "hello"},
            **content,
        }
        return Incoming(**content)

    return incoming


@pytest.fixture
def ended(incoming, agent):
    """A run that failed."""
    admitted = admit(incoming(agent=agent, metadata={"a": 1}))
    run = ledger.begin(admitted.run)
    ledger.fail(run)
    return AgentRun.objects.get(pk=run.pk)


def test_a_retry_is_the_next_attempt_at_the_same_event(ended):
    again = retry_run(ended, "ada")
    again.refresh_from_db()
    assert (again.attempt, again.status, again.last_seq) == (2, "queued", 1)
    assert again.event == ended.event
    assert again.conversation == ended.conversation
    assert again.origin == f"retry:{ended.public_id}"
    assert again.metadata == {"a": 1}
    assert [event.type for event in again.events.all()] == ["run.queued"]
    act = AuditLog.objects.get()
    assert (act.actor, act.action, act.object_id) == (
        "ada",
        "retried",
        str(ended.public_id),
    )


def test_what_was_said_is_not_said_again(ended):
    again = ledger.begin(retry_run(ended, "ada"))
    ledger.complete(again, "better")
    said = TranscriptItem.objects.filter(conversation=ended.conversation)
    spoken = said.exclude(item_type="error").order_by("seq")
    assert [item.text for item in spoken] == ["hello", "better"]


def test_a_later_attempt_can_be_tried_again_too(ended):
    second = ledger.begin(retry_run(ended, "ada"))
    ledger.fail(second)
    assert retry_run(AgentRun.objects.get(pk=second.pk), "ada").attempt == 3


def test_a_retry_goes_by_the_agent_as_it_is_now(ended):
    ended.agent.version, ended.agent.runner_id = 7, "plugin:a/b/c"
    ended.agent.save()
    again = retry_run(ended, "ada")
    assert (again.agent_version, again.runner_id) == (7, "plugin:a/b/c")


def test_a_live_run_is_not_retried(incoming, agent):
    run = admit(incoming(agent=agent)).run
    assert run is not None
    with pytest.raises(NotEndedError):
        retry_run(run, "ada")


def test_a_busy_conversation_refuses_a_retry(ended, incoming, agent):
    live = admit(incoming(agent=agent)).run
    assert live is not None
    with pytest.raises(ConversationBusyError) as raised:
        retry_run(ended, "ada")
    assert raised.value.run_id == live.public_id
    assert AgentRun.objects.count() == 2
    assert not AuditLog.objects.exists()


def test_a_disabled_agent_retries_nothing(ended):
    ended.agent.enabled = False
    ended.agent.save()
    with pytest.raises(AgentUnavailableError):
        retry_run(ended, "ada")


def test_a_replay_finds_the_binding_that_was_missing(incoming, agent, workspace):
    bot = BotFactory.create(workspace=workspace)
    delivery: dict[str, Any] = {"conversation": "room", "reply_target": {"id": 3}}
    ignored = admit(
        incoming(bot=BotRef(bot.public_id, bot.slug), delivery=delivery, source="bot:x")
    )
    assert ignored.status == "ignored"
    AgentBindingFactory.create(agent=agent, scope="bot", scope_ref=bot.slug)
    replayed = replay_event(ignored.event, "ada")
    assert replayed.status == "started"
    assert replayed.run is not None
    assert replayed.run.bot_id == bot.public_id
    assert replayed.run.metadata == {"replay_of": str(ignored.event.public_id)}
    assert replayed.conversation is not None
    assert replayed.conversation.external_id == "room"
    assert replayed.event.delivery == delivery
    act = AuditLog.objects.get()
    assert (act.action, act.object_id) == ("replayed", str(ignored.event.public_id))


def test_a_replay_goes_to_the_agent_that_was_named(ended):
    replayed = replay_event(ended.event, "ada")
    assert replayed.run is not None
    assert replayed.run.agent == ended.agent
    assert replayed.conversation == ended.conversation
    assert replayed.event.input == ended.event.input


def test_a_replay_waits_its_turn(ended):
    replay_event(ended.event, "ada")
    queued = replay_event(ended.event, "ada")
    assert queued.status == "queued"
    assert queued.message is not None
    assert queued.message.agent == ended.agent
    assert replay_event(queued.event, "ada").status == "queued"


def test_a_replay_asks_the_bindings_where_they_chose(incoming, agent):
    binding = AgentBindingFactory.create(agent=agent)
    run = admit(incoming()).run
    assert run is not None
    ledger.complete(ledger.begin(run))
    AgentBinding.objects.filter(pk=binding.pk).update(enabled=False)
    assert replay_event(run.event, "ada").status == "ignored"


def test_what_the_host_said_is_not_replayed(ended):
    ledger.complete(ledger.begin(retry_run(ended, "ada")), "reply")
    with pytest.raises(NotReplayableError):
        replay_event(EventLog.objects.get(type="message.sent"), "ada")


def test_a_replay_needs_the_bot(incoming, workspace):
    bot = BotFactory.create(workspace=workspace)
    event = admit(incoming(bot=BotRef(bot.public_id, bot.slug))).event
    bot.delete()
    with pytest.raises(NotReplayableError):
        replay_event(event, "ada")
