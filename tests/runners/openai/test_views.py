"""`/v1/` in one process; `tests/contract/test_openai_clients.py` has the real thing."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.settings import api_settings
from rest_framework.test import APIClient

from langbot.core.tokens import create_api_token
from langbot.lib.conf import limits
from runners.choices import RunStatus
from runners.models import AgentRun, Conversation, EventLog
from runners.openai import views
from runners.openai.outcomes import Outcome, Usage, read_usage
from tests.factories import AgentFactory

CHAT = "/v1/chat/completions"
HELLO = {"role": "user", "content": "hello"}


@pytest.fixture
def answered(monkeypatch):
    """Answer every run at once, so that no worker is needed."""

    async def wait(run_id, seconds):
        return Outcome("hi", "stop", Usage(3, 4))

    monkeypatch.setattr(views, "wait_for_call", wait)


@pytest.fixture
def ask(api_client, agent, answered):
    def ask(headers=None, **content):
        content = {"model": agent.slug, "messages": [HELLO], **content}
        return api_client.post(CHAT, content, format="json", headers=headers)

    return ask


def test_a_call_is_a_run_with_its_history(ask, agent, user):
    png = "data:image/png;base64,iVBORw0KGgo="
    image = {"type": "image_url", "image_url": {"url": png}}
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "look"}, image]},
        {"role": "assistant", "content": "x" * 5000},
        HELLO,
    ]
    answer = ask(messages=messages, metadata={"ticket": "7"}, user="somebody").json()
    assert answer["choices"][0]["message"]["content"] == "hi"
    assert answer["usage"]["total_tokens"] == 7
    run = AgentRun.objects.get()
    assert answer["id"] == f"chatcmpl-{run.public_id}"
    assert (run.agent, run.metadata) == (agent, {"ticket": "7", "user": "somebody"})
    assert run.event.actor["id"] == f"user:{user.pk}"  # never the body's `user`
    assert run.event.source.startswith("api:")
    assert run.conversation.kind == "stateless"
    said = list(run.conversation.transcript.order_by("seq"))
    assert [item.role for item in said] == ["system", "user", "assistant", "user"]
    assert said[1].content[1]["artifact_id"]
    assert "base64" not in str(said[1].content[1]["image_url"])
    assert len(said[2].text) == limits().transcript_characters
    assert len(said[2].content[0]["text"]) == 5000


def test_a_repeated_key_is_one_run(ask):
    headers = {"Idempotency-Key": "one"}
    first, again = (ask(headers=headers).json()["id"] for _ in range(2))
    assert first == again
    assert AgentRun.objects.count() == Conversation.objects.count() == 1


def test_agents_of_other_workspaces_are_no_models(ask, api_client, agent):
    foreign = AgentFactory.create()
    disabled = AgentFactory.create(workspace=agent.workspace, enabled=False)
    listed = api_client.get("/v1/models").json()["data"]
    assert [model["id"] for model in listed] == [agent.slug]
    for slug in (foreign.slug, disabled.slug, "a b", "a%00b", "gpt-4.1"):
        for answer in (api_client.get(f"/v1/models/{slug}"), ask(model=slug)):
            assert answer.status_code == 404
            assert answer.json()["error"]["code"] == "model_not_found"
    assert not EventLog.objects.exists()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{", 400, "parse_error"),
        ('{"model": "a\\u0000"}', 400, "parse_error"),
        ("[]", 400, "invalid_value"),
        ("{}", 400, "invalid_value"),
        (" " * (2 * 1024 * 1024 + 1), 413, "too_large"),
    ],
)
def test_what_cannot_be_read_is_an_openai_error(api_client, body, status, code):
    answer = api_client.post(CHAT, body, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_other_addresses_and_methods_are_openai_errors(api_client):
    unknown = api_client.post("/v1/embeddings", {}, format="json")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (
        404,
        "unknown_url",
    )
    wrong = api_client.get(CHAT)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (
        405,
        "method_not_allowed",
    )
    media = api_client.post(CHAT, "x", content_type="text/plain")
    assert media.status_code == 415


def test_who_is_unknown_or_may_not_write_is_refused(user, workspace, agent):
    client = APIClient()
    answer = client.get("/v1/models")
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"
    assert answer.json()["error"]["type"] == "authentication_error"
    _, token = create_api_token(user, workspace, "reader", scopes=["read"])
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert client.get("/v1/models").status_code == 200
    content = {"model": agent.slug, "messages": [HELLO]}
    refused = client.post(CHAT, content, format="json")
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "insufficient_scope"
    workspace.memberships.all().delete()
    assert client.get("/v1/models").status_code == 403


def test_a_long_message_is_refused_and_nothing_is_written(ask):
    long = {"role": "user", "content": "x" * (limits().follow_up_characters + 1)}
    answer = ask(messages=[HELLO, long])
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert not Conversation.objects.exists()


def test_calls_are_throttled_like_messages(ask, monkeypatch):
    rates = {"messages": "600/min"}
    monkeypatch.setattr(api_settings, "DEFAULT_THROTTLE_RATES", rates)
    assert ask()["RateLimit-Policy"].startswith('"messages"')


@pytest.mark.django_db(transaction=True)
def test_a_run_that_takes_too_long_is_given_up(api_client, agent, monkeypatch):
    monkeypatch.setattr(views, "WAIT_SECONDS", 0.2)
    content = {"model": agent.slug, "messages": [HELLO]}
    answer = api_client.post(CHAT, content, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
    assert answer["x-should-retry"] == "false"
    assert AgentRun.objects.get().status == RunStatus.CANCELLED


@pytest.mark.parametrize(
    ("given", "prompt", "completion"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4}, 3, 4),
        ({"input_tokens": 3, "output_tokens": 4}, 3, 4),
        ({"prompt_tokens": "3", "completion_tokens": -4}, 0, 0),
        ([], 0, 0),
        (None, 0, 0),
    ],
)
def test_usage_of_either_spelling_is_read(given: Any, prompt, completion):
    assert read_usage(given) == Usage(prompt, completion)


def test_more_models_cost_no_more_questions(api_client, agent):
    api_client.get("/v1/models")  # marks the token as used
    with CaptureQueriesContext(connection) as few:
        api_client.get("/v1/models")
    AgentFactory.create_batch(10, workspace=agent.workspace)
    with CaptureQueriesContext(connection) as many:
        assert len(api_client.get("/v1/models").json()["data"]) == 11
    assert len(many) == len(few)
