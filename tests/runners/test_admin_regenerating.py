"""A reply made anew by its button on the page of a conversation."""

import re
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from langbot.core.models import AuditLog
from runners.models import AgentRun, Conversation, TranscriptItem
from tests.factories import WorkspaceFactory
from tests.support import ledger

BUTTON = re.compile(r'form="regenerate"\s+name="message"\s+value="([^"]+)"')


def signed_in(workspace, role):
    person = get_user_model().objects.create_user(role, is_staff=True)
    person.groups.add(Group.objects.get(name=role))
    workspace.memberships.create(user=person)
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def operator(workspace):
    return signed_in(workspace, "operators")


@pytest.fixture
def conversation(api_client, agent):
    """Two questions with their answers."""
    place = api_client.post("/api/v1/conversations/", {}, format="json").json()["id"]
    for word in ("one", "two"):
        content = {"text": word, "agent": agent.slug}
        url = f"/api/v1/conversations/{place}/messages/"
        run_id = api_client.post(url, content, format="json").json()["run_id"]
        run = ledger.begin(AgentRun.objects.get(public_id=run_id))
        ledger.complete(run, f"re {word}", publish=False)
    return Conversation.objects.get(public_id=place)


def page_of(conversation):
    return reverse("admin:langbot_runners_conversation_change", args=[conversation.pk])


def press(client, conversation, message, **more):
    """Press the button, and the one of the question that follows."""
    name = "admin:langbot_runners_conversation_regenerate"
    url = reverse(name, args=[conversation.pk])
    given = {"message": message, "post": "yes", **more}
    return client.post(url, given, follow=True)


def answers():
    rows = TranscriptItem.objects.current().filter(role="assistant").order_by("seq")
    return {row.text: str(row.public_id) for row in rows}


def test_each_answer_has_a_button_that_makes_it_anew(operator, conversation):
    body = operator.get(page_of(conversation)).content.decode()
    buttons = BUTTON.findall(body)
    assert buttons == list(answers().values())
    asked = press(operator, conversation, buttons[0], post="").content.decode()
    assert "1 message that was said after it leaves with it" in asked
    assert "re one" in asked
    assert "is sent to the people" not in asked  # nobody's bot is in it
    assert len(answers()) == 2
    last = press(operator, conversation, buttons[1], post="").content.decode()
    assert "leaves with it" not in last
    response = press(operator, conversation, buttons[0])
    assert "The reply is being made anew." in response.content.decode()
    attempt = AgentRun.objects.get(attempt=2)
    assert (attempt.event.input["text"], attempt.status) == ("one", "queued")
    assert answers() == {}  # what came after it is replaced, too
    act = AuditLog.objects.get(action="regenerated")
    assert (act.actor, act.source) == ("operators", "admin")
    # While it is made there is nothing to press, and pressing does nothing.
    assert not BUTTON.search(response.content.decode())
    question = TranscriptItem.objects.current().get(text="one")
    again = press(operator, conversation, str(question.public_id))
    assert "being made anew" not in again.content.decode()
    assert AgentRun.objects.count() == 3


def test_who_may_not_send_has_no_button(workspace, conversation):
    viewer = signed_in(workspace, "viewers")
    body = viewer.get(page_of(conversation)).content.decode()
    assert "re one" in body
    assert not BUTTON.search(body)
    refused = press(viewer, conversation, answers()["re one"])
    assert refused.status_code == 403
    assert AgentRun.objects.count() == 2


def test_a_conversation_of_another_workspace_does_not_exist(conversation):
    stranger = signed_in(WorkspaceFactory(slug="other"), "operators")
    refused = press(stranger, conversation, answers()["re one"])
    assert "being made anew" not in refused.content.decode()
    assert AgentRun.objects.count() == 2


@pytest.mark.parametrize("named", ["", "x", "0" * 32])
def test_a_message_that_there_is_not_is_said_plainly(operator, conversation, named):
    body = press(operator, conversation, named).content.decode()
    assert "There is no such message." in body


def test_who_has_a_platform_is_told_that_it_is_sent_there(operator, conversation):
    Conversation.objects.update(bot_id=uuid4())
    first, *_ = answers().values()
    asked = press(operator, conversation, first, post="").content.decode()
    assert "is sent to the people" in asked
    assert AgentRun.objects.count() == 2


def test_a_button_changes_nothing_by_being_read(operator, conversation):
    name = "admin:langbot_runners_conversation_regenerate"
    url = reverse(name, args=[conversation.pk])
    assert operator.get(url).status_code == 405
