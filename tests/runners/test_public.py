"""The Python API of embedding projects."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.db.transaction import TransactionManagementError

from agents.models import Agent
from runners.models import AgentRun, Conversation, EventLog
from runners.public import (
    AdmissionError,
    RunResult,
    adispatch_event,
    astart_run,
    await_for_run,
    dispatch_event,
    start_run,
    wait_for_run,
)
from tests.factories import (
    AgentBindingFactory,
    AgentFactory,
    BotFactory,
    WorkspaceFactory,
)
from tests.support import ledger


def test_an_event_is_recorded_as_given(agent, workspace):
    AgentBindingFactory(agent=agent, event_pattern="ticket.*")
    Agent.objects.update(event_types=["ticket.opened"])
    when = datetime(2026, 1, 2, tzinfo=UTC)
    accepted = dispatch_event(
        "ticket.opened",
        source="shop",
        event_id="17",
        actor={"id": "ada", "name": "Ada"},
        subject={"id": "17", "type": "ticket"},
        input={"text": "broken\x00"},
        data={"amount": 3},
        metadata={"order": "9"},
        thread="t",
        conversation="customer-1",
        time=when,
    )
    event = EventLog.objects.get()
    assert accepted.status == "started"
    assert accepted.run_id == AgentRun.objects.get().public_id
    assert (event.source, event.event_id, event.time) == ("app:shop", "17", when)
    assert (event.actor["id"], event.subject["id"]) == ("ada", "17")
    assert (event.data, event.thread) == ({"amount": 3}, "t")
    assert event.input["text"] == "broken\ufffd"
    assert Conversation.objects.get().external_id == "customer-1"


def test_the_same_event_gives_the_same_run(agent):
    first = start_run(agent, "hi", event_id="1", source="shop")
    again = start_run(agent, "hi", event_id="1", source="shop")
    other = start_run(agent, "hi", event_id="1", source="till")
    assert (again.status, again.run_id) == ("duplicate", first.run_id)
    assert other.run_id != first.run_id


def test_a_user_of_the_project_is_the_actor(agent, user):
    start_run(agent, "hi", actor=user)
    actor = {"type": "user", "id": f"user:{user.pk}", "name": "ada"}
    assert EventLog.objects.get().actor == actor


def test_a_user_model_without_names_will_do(agent):
    class Person:
        pk = "7b1c"

        def get_username(self):
            return "ada@example.org"

    start_run(agent, "hi", actor=Person())
    assert EventLog.objects.get().actor["name"] == "ada@example.org"


def test_a_conversation_is_a_key_or_a_row(agent):
    start_run(agent, "one", conversation="room")
    row = Conversation.objects.get()
    second = start_run(agent, "two", conversation=row)
    third = start_run(agent, "three", conversation="room")
    assert (second.status, third.status) == ("queued", "queued")
    assert second.conversation_id == third.conversation_id == row.public_id


def test_the_workspace_follows_the_rows(workspace):
    elsewhere = WorkspaceFactory.create()
    agent = AgentFactory.create(workspace=elsewhere)
    bot = BotFactory.create(workspace=workspace)
    start_run(agent, "hi")
    assert EventLog.objects.get().workspace == elsewhere
    with pytest.raises(ValueError, match="belong together"):
        start_run(agent, "hi", bot=bot)
    with pytest.raises(ValueError, match="belong together"):
        start_run(agent, "hi", workspace="default")
    with pytest.raises(Agent.DoesNotExist):
        start_run(agent.slug, "hi")
    assert EventLog.objects.count() == 1


def test_a_refused_event_leaves_nothing(agent):
    Agent.objects.update(enabled=False)
    agent.refresh_from_db()
    with pytest.raises(AdmissionError) as refusal:
        start_run(agent, "hi")
    assert refusal.value.code == "agent_unavailable"
    assert not EventLog.objects.exists()


def test_waiting_ends_with_the_run(agent):
    accepted = start_run(agent, "hi")
    run = ledger.begin(AgentRun.objects.get())
    with pytest.raises(TransactionManagementError):
        wait_for_run(accepted)
    ledger.complete(run, "well", publish=False)
    expected = RunResult(run.public_id, "completed", "well")
    assert wait_for_run(accepted) == wait_for_run(run.public_id) == expected


def test_a_failure_says_why(agent):
    accepted = start_run(agent, "hi")
    ledger.fail(ledger.begin(AgentRun.objects.get()), "runner.sad", publish=False)
    result = wait_for_run(accepted)
    assert result.status == "failed"
    assert (result.error or {})["code"] == "runner.sad"


def test_nobody_waits_for_what_never_comes(workspace):
    ignored = dispatch_event("message.received", input={"text": "hi"})
    assert ignored.status == "ignored"
    with pytest.raises(ValueError, match="ignored"):
        wait_for_run(ignored)
    with pytest.raises(AgentRun.DoesNotExist):
        wait_for_run(uuid4())


@pytest.mark.django_db(transaction=True)
def test_waiting_takes_its_time_and_no_longer(agent):
    accepted = start_run(agent, "hi")
    with pytest.raises(TimeoutError, match=r"0\.1 s"):
        wait_for_run(accepted, timeout=0.1)
    with pytest.raises(TimeoutError, match=r"0\.1 s"):
        async_to_sync(await_for_run)(accepted, timeout=0.1)


@pytest.mark.django_db(transaction=True)
async def test_the_async_twins_do_the_same():
    from asgiref.sync import sync_to_async

    await sync_to_async(_bound_agent)()
    first = await adispatch_event(
        "message.received", input={"text": "one"}, conversation="room"
    )
    second = await astart_run("greeter", "two", conversation="room")
    assert (first.status, second.status) == ("started", "queued")
    await sync_to_async(_answer_next)("1")
    await sync_to_async(_answer_next)("2")
    assert (await await_for_run(first, 5)).text == "1"
    assert (await await_for_run(second, 5)).text == "2"
    assert (await sync_to_async(wait_for_run)(second)).text == "2"


def _bound_agent():
    workspace = WorkspaceFactory(slug="default")
    AgentBindingFactory(agent=AgentFactory(workspace=workspace, slug="greeter"))
    get_user_model().objects.create_user("ada")


def _answer_next(text):
    ledger.complete(ledger.begin(AgentRun.objects.live().get()), text)
