"""Whose conversation it is says the address and the credentials (LH-25 to LH-29)."""

from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runners.models import AgentRun, Conversation, EventLog, TranscriptItem
from tests.factories import WorkspaceFactory

CONVERSATIONS = "/api/v1/conversations/"


@pytest.fixture
def conversation(api_client):
    answer = api_client.post(CONVERSATIONS, {"key": "mine"}, format="json")
    return Conversation.objects.get(public_id=answer.json()["id"])


def messages_of(public_id):
    return f"{CONVERSATIONS}{public_id}/messages/"


@pytest.mark.parametrize(
    "other",
    [
        {"conversation": "another"},
        {"conversation_id": str(uuid4())},
        {"message": {"conversation": "another"}},
    ],
)
def test_no_body_leads_to_another_conversation(api_client, conversation, agent, other):
    body = {"text": "Hi", "agent": agent.slug, **other}
    answer = api_client.post(messages_of(conversation.public_id), body, format="json")
    assert answer.status_code == 400
    assert set(other) & set(answer.json()["errors"])
    assert not EventLog.objects.exists()


@pytest.mark.parametrize("field", ["actor", "user", "source"])
def test_who_speaks_is_never_in_the_body(api_client, conversation, agent, field):
    """AG-131: it comes from the token."""
    body = {"text": "Hi", "agent": agent.slug, field: {"id": "user:1"}}
    answer = api_client.post(messages_of(conversation.public_id), body, format="json")
    assert answer.status_code == 400
    assert field in answer.json()["errors"]


def test_a_new_conversation_has_no_messages_yet(api_client, workspace):
    with CaptureQueriesContext(connection) as queries:
        answer = api_client.get(messages_of("new"))
    assert answer.status_code == 200
    assert answer.json() == {
        "next": None,
        "previous": None,
        "results": [],
        "has_more": False,
        "oldest_sequence": None,
    }
    asked = str(queries.captured_queries)
    assert "langbot_runners_conversation" not in asked
    assert "transcript" not in asked
    assert api_client.post(messages_of("new"), {"text": "Hi"}).status_code == 405


def test_who_may_read_nothing_reads_no_new_one_either(client):
    assert client.get(messages_of("new")).status_code == 401


def test_unknown_and_foreign_conversations_are_the_same(api_client, workspace):
    elsewhere = WorkspaceFactory.create(slug="elsewhere")
    foreign = Conversation.objects.create(workspace=elsewhere, key="k")
    answers = [
        api_client.get(messages_of(public_id))
        for public_id in (foreign.public_id, uuid4())
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json() == answers[1].json()


def test_what_runs_can_be_read_from_its_first_moment(api_client, conversation, agent):
    """LH-28: a run and its conversation are written together, so nothing is waived.

    LO-13: one call makes the message, the run and what is missing of the conversation.
    """
    body = {"text": "Hi", "agent": agent.slug}
    url = messages_of(conversation.public_id)
    answer = api_client.post(url, body, format="json").json()
    run = AgentRun.objects.get()
    assert run.status == "queued"
    shown = api_client.get(messages_of(answer["conversation"])).json()["results"]
    assert [one["text"] for one in shown] == ["Hi"]
    message = TranscriptItem.objects.get()
    assert shown[0]["id"] == str(message.public_id)
    assert message.run_id == run.pk
    assert answer["run_id"] == str(run.public_id)
