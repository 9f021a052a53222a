import pytest

from langbot.core.models import AuditLog
from runners.engine.snapshot import build_context, freeze, load_runs
from runners.ledger.history import transcript_page
from runners.models import AgentRun, Conversation
from tests.factories import WorkspaceFactory
from tests.support import ledger

CONVERSATIONS = "/api/v1/conversations/"


@pytest.fixture
def conversation(api_client):
    answer = api_client.post(CONVERSATIONS, {"key": "mine"}, format="json")
    return Conversation.objects.get(public_id=answer.json()["id"])


@pytest.fixture
def url(conversation):
    return f"{CONVERSATIONS}{conversation.public_id}/"


@pytest.fixture
def say(api_client, url, agent):
    def say(text):
        content = {"text": text, "agent": agent.slug}
        answer = api_client.post(f"{url}messages/", content, format="json").json()
        return AgentRun.objects.filter(public_id=answer["run_id"]).first()

    return say


def texts(conversation, **options):
    page = transcript_page(conversation.pk, **options)
    return [item.text for item in page.items]


def test_runners_see_nothing_of_what_was_before(api_client, conversation, url, say):
    ledger.complete(ledger.begin(say("one")), "first")
    answer = api_client.post(f"{url}reset/")
    assert (answer.status_code, answer.json()["id"]) == (
        200,
        str(conversation.public_id),
    )
    run = say("two")
    assert texts(conversation) == ["two"]
    assert texts(conversation, direction="forward") == ["two"]
    assert texts(conversation, before=3) == []
    assert texts(conversation, after=0, direction="forward") == ["two"]
    (loaded,) = load_runs([run.pk])
    context = build_context(loaded, freeze(loaded))
    assert context["context"]["has_history_before"] is False
    ledger.complete(ledger.begin(run), "second")
    assert texts(conversation) == ["second", "two"]


def test_people_see_everything_and_where_it_began_anew(api_client, url, say):
    ledger.complete(ledger.begin(say("one")), "first")
    api_client.post(f"{url}reset/")
    say("two")
    rows = api_client.get(f"{url}messages/").json()["results"]
    assert [(row["type"], row["text"]) for row in reversed(rows)] == [
        ("message", "one"),
        ("message", "first"),
        ("reset", "The conversation begins anew."),
        ("message", "two"),
    ]
    assert AuditLog.objects.filter(action="reset").count() == 1


def test_a_run_under_way_goes_on(api_client, conversation, url, say):
    run = ledger.begin(say("one"))
    say("waits")
    assert api_client.post(f"{url}reset/").status_code == 200
    ledger.complete(run, "first")
    assert texts(conversation) == ["waits", "first"]


def test_conversations_of_others_do_not_exist(api_client, conversation, url):
    Conversation.objects.update(workspace=WorkspaceFactory.create())
    assert api_client.post(f"{url}reset/").status_code == 404
    assert not AuditLog.objects.filter(action="reset").exists()
