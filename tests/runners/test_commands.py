import json
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from runners.errors import AdmissionError
from runners.models import AgentRun, EventLog
from tests.factories import AgentBindingFactory, BotFactory
from tests.support import ledger


@pytest.fixture
def bot(workspace, agent):
    bot = BotFactory.create(workspace=workspace)
    AgentBindingFactory.create(agent=agent, scope="bot", scope_ref=bot.slug)
    return bot


def output_of(*command):
    output = StringIO()
    call_command(*command, stdout=output)
    return output.getvalue()


def test_sendmessage_says_what_became_of_it(bot):
    arguments = (bot.slug, "hello", "--conversation", "room")
    answer = json.loads(output_of("sendmessage", *arguments))
    run = AgentRun.objects.get()
    assert (answer["status"], answer["run_id"]) == ("started", str(run.public_id))
    assert run.event.source == f"bot:{bot.public_id}"
    assert run.event.actor["id"].startswith("command:")
    assert run.conversation.external_id == "room"
    again = json.loads(output_of("sendmessage", *arguments))
    assert again["status"] == "queued"


def test_sendmessage_names_what_is_wrong(bot, agent):
    with pytest.raises(CommandError, match=f"there are: {bot.slug}"):
        call_command("sendmessage", "nobody", "hello")
    agent.bindings.all().delete()
    with pytest.raises(CommandError, match="Nobody answers"):
        call_command("sendmessage", bot.slug, "hello")
    bot.enabled = False
    bot.save()
    with pytest.raises(CommandError, match="disabled"):
        call_command("sendmessage", bot.slug, "hello")


@pytest.mark.parametrize("text", ["", " \n"])
def test_sendmessage_refuses_to_say_nothing(bot, text):
    with pytest.raises(CommandError, match="The message is empty"):
        call_command("sendmessage", bot.slug, text)
    assert not EventLog.objects.exists()


def test_sendmessage_prints_the_reply_as_it_comes(host):
    command = ("manage.py", "sendmessage", "web", "hello there", "--follow")
    assert host.processes.run(*command) == "You said: hello there\n"


def test_replayevent_admits_an_event_again(bot):
    call_command("sendmessage", bot.slug, "hello", stdout=StringIO())
    run = AgentRun.objects.get()
    ledger.complete(ledger.begin(run))
    event = EventLog.objects.get(pk=run.event_id)
    answer = json.loads(output_of("replayevent", str(event.public_id)))
    again = AgentRun.objects.get(public_id=answer["run_id"])
    assert again.metadata == {"replay_of": str(event.public_id)}
    assert again.conversation == run.conversation


def test_replayevent_finds_an_event_by_the_id_that_its_sender_gave(bot):
    call_command("sendmessage", bot.slug, "hello", stdout=StringIO())
    event = EventLog.objects.get()
    ledger.complete(ledger.begin(AgentRun.objects.get()))
    answer = json.loads(output_of("replayevent", event.event_id))
    assert answer["status"] == "started"
    other = EventLog.objects.get(event_id=event.event_id)
    other.pk, other._state.adding = None, True
    other.public_id, other.source = uuid4(), "user:7"
    other.save()
    with pytest.raises(CommandError) as raised:
        call_command("replayevent", event.event_id)
    assert str(event.public_id) in str(raised.value)
    assert f"{other.public_id} from user:7" in str(raised.value)


@pytest.mark.django_db
@pytest.mark.parametrize("given", ["x", "0199d0f0-0000-7000-8000-000000000000"])
def test_replayevent_names_an_unknown_event(given):
    with pytest.raises(CommandError, match=f"no event {given}"):
        call_command("replayevent", given)


def test_replayevent_says_why_it_refuses(bot):
    call_command("sendmessage", bot.slug, "hello", stdout=StringIO())
    ledger.complete(ledger.begin(AgentRun.objects.get()))
    reply = EventLog.objects.get(type="message.sent")
    with pytest.raises(CommandError, match="not come from outside") as raised:
        call_command("replayevent", str(reply.public_id))
    assert isinstance(raised.value.__context__, AdmissionError)
