"""Conversations that were silent for long enough begin anew (LB-103)."""

from datetime import UTC, datetime, timedelta

import pytest

from agents.policies import StatePolicy
from agents.services import save_agent
from langbot.core.models import AuditLog
from runners.admission import Incoming, admit
from runners.ledger.history import transcript_page
from runners.models import Conversation, EventLog, TranscriptItem
from tests.factories import AgentBindingFactory
from tests.support import ledger


@pytest.fixture
def say(workspace, agent):
    def say(text, **values):
        incoming = Incoming(
            workspace=workspace,
            source="api:test",
            event_id=f"event-{EventLog.objects.count()}",
            type="message.received",
            trigger_source="api",
            external_conversation="room",
            input={"text": text},
            **({"agent": agent} | values),
        )
        return admit(incoming)

    return say


def expire_after(agent, seconds):
    agent.state_policy = {"expire_seconds": seconds}
    save_agent(agent, author="ada")


def grow_older(seconds):
    then = datetime.now(UTC) - timedelta(seconds=seconds)
    Conversation.objects.update(updated_at=then)


def seen():
    """Return what a runner reads of the history, oldest first."""
    page = transcript_page(Conversation.objects.get().pk)
    return [item.text for item in reversed(page.items)]


def markers():
    return TranscriptItem.objects.filter(item_type="reset").count()


def answer(admitted, text):
    ledger.complete(ledger.begin(admitted.run), text)


@pytest.mark.parametrize(
    ("expires", "silent", "anew"),
    [(60, 61, True), (60, 50, False), (0, 10**8, False), (None, 10**8, False)],
)
def test_after_the_silence_runners_see_nothing_of_before(
    say, agent, expires, silent, anew
):
    if expires is not None:
        expire_after(agent, expires)
    answer(say("one"), "first")
    grow_older(silent)
    answer(say("two"), "second")
    before = [] if anew else ["one", "first"]
    assert seen() == [*before, "two", "second"]
    assert markers() == (1 if anew else 0)
    assert TranscriptItem.objects.filter(text="one").exists()  # people still read it
    assert Conversation.objects.count() == 1


def test_a_conversation_that_goes_on_never_expires(say, agent):
    expire_after(agent, 60)
    for text in ("one", "two", "three"):
        grow_older(40)
        answer(say(text), text.upper())
    assert markers() == 0
    assert seen() == ["one", "ONE", "two", "TWO", "three", "THREE"]


def test_what_waits_for_a_long_turn_belongs_to_it(say, agent):
    expire_after(agent, 60)
    first = say("one")
    grow_older(600)
    assert say("two").status == "queued"
    answer(first, "first")
    assert markers() == 0


def test_a_repeat_of_a_message_begins_nothing(say, agent, workspace):
    expire_after(agent, 60)
    admitted = say("one")
    answer(admitted, "first")
    grow_older(61)
    event = admitted.event
    again = Incoming(
        workspace=workspace,
        source=event.source,
        event_id=event.event_id,
        type=event.type,
        trigger_source="api",
        agent=agent,
        external_conversation="room",
    )
    assert admit(again).status == "duplicate"
    assert markers() == 0


def test_the_shorter_time_of_agent_and_binding_counts(say, agent):
    expire_after(agent, 600)
    binding = AgentBindingFactory.create(
        agent=agent, scope="agent", state_policy={"expire_seconds": 60}
    )
    answer(say("one"), "first")
    grow_older(61)
    answer(say("two"), "second")
    assert markers() == 1
    binding.state_policy = {"expire_seconds": 0}  # a binding never widens
    binding.save()
    grow_older(601)
    answer(say("three"), "third")
    assert markers() == 2


def test_it_is_the_same_reset_that_people_can_do(say, agent):
    from runners.resets import reset_conversation

    expire_after(agent, 60)
    answer(say("one"), "first")
    reset_conversation(Conversation.objects.get(), "ada")
    grow_older(61)
    answer(say("two"), "second")
    own, ours = TranscriptItem.objects.filter(item_type="reset").order_by("pk")
    assert (own.role, own.text) == (ours.role, ours.text)
    # Nobody did it, so it is in the transcript and not in the log of people's acts.
    assert AuditLog.objects.filter(action="reset").count() == 1


@pytest.mark.parametrize("seconds", [-1, "soon", 2**31, True, 1.5])
def test_what_is_no_time_is_refused(agent, seconds):
    from django.core.exceptions import ValidationError

    with pytest.raises(ValidationError):
        expire_after(agent, seconds)


@pytest.mark.parametrize(
    ("agent", "binding", "both"), [(0, 0, 0), (5, 0, 5), (0, 5, 5), (9, 5, 5)]
)
def test_a_binding_narrows_the_time(agent, binding, both):
    narrowed = StatePolicy(expire_seconds=agent).narrowed(
        StatePolicy(expire_seconds=binding)
    )
    assert narrowed.expire_seconds == both


def test_the_form_of_an_agent_has_it(agent, client, user):
    from django.urls import reverse

    from tests.support.posted import posted

    user.is_staff = user.is_superuser = True
    user.save()
    client.force_login(user)
    page = reverse("admin:langbot_agents_agent_change", args=[agent.pk])
    data = posted(client.get(page).content.decode())
    assert data["state_expire"] == "0"
    data["state_expire"] = "900"
    assert client.post(page, data).status_code == 302
    agent.refresh_from_db()
    assert agent.state_policy["expire_seconds"] == 900
