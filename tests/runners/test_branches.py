"""Replies made anew, other words after an earlier message, and titles."""

import pytest

from langbot.core.models import AuditLog
from runners.ledger.history import transcript_page
from runners.ledger.search import search_transcript
from runners.models import AgentRun, Conversation, EventLog, RunEvent, TranscriptItem
from runners.resets import reset_conversation
from tests.support import ledger


@pytest.fixture
def conversation(api_client):
    answer = api_client.post("/api/v1/conversations/", {"key": "mine"}, format="json")
    return Conversation.objects.get(public_id=answer.json()["id"])


@pytest.fixture
def url(conversation):
    return f"/api/v1/conversations/{conversation.public_id}/messages/"


@pytest.fixture
def post(api_client, url, agent):
    def post(**content):
        content = {"agent": agent.slug, **content}
        return api_client.post(url, content, format="json")

    return post


@pytest.fixture
def talk(post):
    """Say words and have each answered."""

    def talk(*words):
        for word in words:
            answer = post(text=word)
            assert answer.status_code == 201, answer.content
            run = AgentRun.objects.get(public_id=answer.json()["run_id"])
            ledger.complete(ledger.begin(run), f"re {word}", publish=False)

    return talk


@pytest.fixture
def said(api_client, url):
    """Return what the page of the transcript shows, oldest first."""

    def said():
        rows = api_client.get(url).json()["results"]
        return [row["text"] for row in reversed(rows)]

    return said


def item(text):
    return TranscriptItem.objects.current().get(text=text)


def answer_to(response, text):
    run = AgentRun.objects.get(public_id=response.json()["run_id"])
    ledger.complete(ledger.begin(run), text, publish=False)
    return run


@pytest.mark.parametrize("named", ["two", "re two"])
def test_a_reply_is_made_anew_and_what_came_after_it_goes(talk, post, said, named):
    talk("one", "two", "three")
    first = AgentRun.objects.get(event__input__text="two")
    response = post(parent=str(item(named).public_id))
    assert response.status_code == 201
    assert response.json()["status"] == "started"
    assert said() == ["one", "re one", "two"]
    run = answer_to(response, "better")
    assert (run.event, run.attempt) == (first.event, 2)
    assert run.origin == f"retry:{first.public_id}"
    assert said() == ["one", "re one", "two", "better"]
    act = AuditLog.objects.get(action="regenerated")
    assert act.after == {"run": str(run.public_id), "replaced": 3}


def test_models_see_nothing_of_what_was_replaced_and_the_ledger_all(
    talk, post, conversation
):
    talk("one", "two", "three")
    events = RunEvent.objects.count()
    post(parent=str(item("re one").public_id))
    page = transcript_page(conversation.pk)
    assert [one.text for one in page.items] == ["one"]
    assert search_transcript(conversation.pk, "three", limit=5).items == []
    assert len(search_transcript(conversation.pk, "one", limit=5).items) == 1
    assert TranscriptItem.objects.count() == 6
    assert RunEvent.objects.count() == events + 1
    assert EventLog.objects.filter(type="message.received").count() == 3


def test_other_words_after_an_earlier_message(talk, post, said):
    talk("one", "two", "three")
    response = post(parent=str(item("re one").public_id), text="instead")
    assert response.status_code == 201
    answer_to(response, "re instead")
    assert said() == ["one", "re one", "instead", "re instead"]


def test_after_the_last_message_a_talk_just_goes_on(talk, post, said):
    talk("one")
    parent = str(item("re one").public_id)
    assert post(parent=parent, text="two").status_code == 201
    parent = str(item("two").public_id)
    assert post(parent=parent, text="three").status_code == 202
    assert said() == ["one", "re one", "two"]


def test_words_that_are_sent_again_replace_nothing(talk, post, said):
    talk("one", "two")
    given = {"parent": str(item("re one").public_id), "text": "x", "client_key": "k"}
    first = post(**given)
    answer_to(first, "re x")
    again = post(**given)
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    assert said() == ["one", "re one", "x", "re x"]


@pytest.mark.parametrize("more", [{}, {"text": "instead"}])
def test_nothing_is_replaced_while_a_run_is_under_way(talk, post, said, more):
    talk("one", "two")
    parent = str(item("re one").public_id)
    live = post(text="three").json()["run_id"]
    refused = post(parent=parent, **more)
    assert refused.status_code == 409
    assert refused.json()["code"] == "conversation_busy"
    assert refused.json()["turn_in_flight"] == live
    assert said() == ["one", "re one", "two", "re two", "three"]


def test_what_was_replaced_cannot_be_named(talk, post):
    talk("one", "two")
    gone = str(item("re two").public_id)
    post(parent=str(item("one").public_id))
    refused = post(parent=gone, text="x")
    assert refused.status_code == 400
    assert "parent" in refused.json()["errors"]


def test_a_message_of_another_conversation_cannot_be_named(talk, post, api_client):
    talk("one")
    other = api_client.post("/api/v1/conversations/", {}, format="json").json()["id"]
    url = f"/api/v1/conversations/{other}/messages/"
    given = {"parent": str(item("one").public_id), "text": "x"}
    assert api_client.post(url, given, format="json").status_code == 400


def test_what_nobody_answered_is_no_reply(post, conversation):
    reset_conversation(conversation, "ada")
    marker = TranscriptItem.objects.get()
    refused = post(parent=str(marker.public_id))
    assert (refused.status_code, refused.json()["code"]) == (409, "no_reply")


def test_a_reset_after_the_message_is_undone_with_the_rest(talk, post, conversation):
    talk("one")
    reset_conversation(conversation, "ada")
    talk("two")
    post(parent=str(item("re one").public_id))
    conversation.refresh_from_db()
    assert conversation.context_seq == 0
    assert [row.text for row in transcript_page(conversation.pk).items] == ["one"]


def test_without_a_text_a_message_needs_a_parent(post):
    refused = post()
    assert refused.status_code == 400
    assert "text" in refused.json()["errors"]


def test_a_disabled_agent_answers_nothing_anew(talk, api_client, url, agent, said):
    talk("one")
    agent.enabled = False
    agent.save()
    parent = str(item("re one").public_id)
    refused = api_client.post(url, {"parent": parent}, format="json")
    assert (refused.status_code, refused.json()["code"]) == (409, "agent_unavailable")
    assert said() == ["one", "re one"]


def test_a_conversation_names_its_run_under_way(post, talk, api_client, conversation):
    url = f"/api/v1/conversations/{conversation.public_id}/"
    found = api_client.get(url).json()
    assert (found["running"], found["last_sequence"]) == (None, 0)
    talk("one")
    run_id = post(text="two").json()["run_id"]
    for found in (
        api_client.get(url).json(),
        *api_client.get(url[:-37]).json()["results"],
    ):
        assert (found["running"], found["last_sequence"]) == (run_id, 3)


# Titles


def test_a_conversation_is_called_after_its_first_words(post, conversation):
    assert conversation.title == ""
    post(text="  Hello there,\nhow   are you? " + "x" * 200)
    conversation.refresh_from_db()
    assert conversation.title.startswith("Hello there, how are you? xxx")
    assert len(conversation.title) == 80


def test_a_person_names_it(talk, api_client, conversation):
    talk("one")
    conversation.refresh_from_db()
    before = conversation.updated_at
    url = f"/api/v1/conversations/{conversation.public_id}/"
    answer = api_client.patch(url, {"title": "Invoices"}, format="json")
    assert (answer.status_code, answer.json()["title"]) == (200, "Invoices")
    act = AuditLog.objects.get(action="renamed")
    assert (act.before, act.after) == ({"title": "one"}, {"title": "Invoices"})
    talk("two")
    conversation.refresh_from_db()
    assert conversation.title == "Invoices"
    assert conversation.updated_at > before
    assert (
        api_client.patch(url, {"title": "Invoices"}, format="json").status_code == 200
    )
    assert AuditLog.objects.filter(action="renamed").count() == 1


@pytest.mark.parametrize("content", [{"title": "x" * 201}, {"title": None}, {"z": 1}])
def test_only_the_title_can_be_changed(api_client, conversation, content):
    url = f"/api/v1/conversations/{conversation.public_id}/"
    assert api_client.patch(url, content, format="json").status_code == 400
