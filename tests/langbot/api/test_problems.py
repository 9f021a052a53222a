import json
from uuid import uuid4

import pytest
from django.conf import settings
from rest_framework.test import APIClient

AGENTS = "/api/v1/agents/"


def problem(response, status, code):
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    content = response.json()
    assert content["status"] == status
    assert content["code"] == code
    assert content["type"].endswith(f"/problems/{code}")
    assert content["title"]
    assert content["detail"]
    return content


def post(client, body, content_type="application/json"):
    return client.generic("POST", AGENTS, body, content_type=content_type)


def agent_body(**values):
    return json.dumps(
        {"slug": "a", "name": "A", "runner": "plugin:langbot/echo/default", **values}
    )


def test_anonymous_gets_401_with_a_challenge(db):
    response = APIClient().get(AGENTS)
    problem(response, 401, "not_authenticated")
    assert response["WWW-Authenticate"] == "Bearer"


def test_unknown_id_and_unknown_path_are_404(api_client):
    problem(api_client.get(f"{AGENTS}{uuid4()}/"), 404, "not_found")
    problem(api_client.get(f"{AGENTS}not-an-id/"), 404, "not_found")
    problem(api_client.get("/api/v1/nothing/"), 404, "not_found")


def test_wrong_method_is_405(api_client):
    problem(api_client.delete(AGENTS), 405, "method_not_allowed")


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "",
        "nonsense",
        '{"slug": NaN}',
        '{"slug": Infinity}',
        '{"runner_config": {"x": 1e999}}',
        '{"slug": "a\\u0000b"}',
        '{"na\\u0000me": "x"}',
        '{"name": "\\ud800"}',
        b'{"name": "\xff"}',
        b'\x00{"name": "x"}',
        "[" * 100_000,
        '{"a":' * 70 + "1" + "}" * 70,
        '{"name": ' + "9" * 10_000 + "}",
        "null",
        "[]",
        '"text"',
        "1",
    ],
)
def test_bodies_that_are_no_object_or_cannot_be_stored_are_400(api_client, body):
    response = post(api_client, body)
    assert response.status_code == 400, response.content
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "values",
    [
        {"slug": "with space"},
        {"slug": "x" * 300},
        {"name": ""},
        {"name": None},
        {"name": {"deep": 1}},
        {"runner": "echo"},
        {"runner": "plugin:a/b"},
        {"runner_config": []},
        {"runner_config": "x"},
        {"runner_config": {"x": "y" * 300_000}},
        {"event_types": "message.received"},
        {"event_types": [1, {}]},
        {"event_types": [0]},
        {"session_scope": "planet"},
        {"state_policy": {"scopes": ["galaxy"]}},
        {"delivery_policy": {"unknown": 1}},
        {"enabled": "perhaps"},
        {"no_such_field": 1},
    ],
)
def test_wrong_fields_are_named(api_client, values):
    content = problem(post(api_client, agent_body(**values)), 400, "invalid")
    assert set(values) & set(content["errors"]), content


def test_oversize_body_is_413(api_client):
    size = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    problem(post(api_client, b" " * (size + 1)), 413, "too_large")
    assert post(api_client, agent_body() + " " * (size - 200)).status_code == 201


@pytest.mark.parametrize(
    "content_type", ["text/plain", "multipart/form-data; boundary=x", "application/xml"]
)
def test_other_content_types_are_415(api_client, content_type):
    response = post(api_client, "<a/>", content_type)
    problem(response, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "limit=" + "9" * 5000,
        "limit=%00",
        "cursor=x",
        "cursor=bm9wZQ",
        "cursor=" + "A" * 5000,
        "cursor=%F0%9F%92%A9",
        "status=bogus",
        "conversation=1",
        "created_after=yesterday",
        "created_after=0001-01-01T00:00:00%2B14:00",
        "created_before=9999-12-31T23:59:59-14:00",
        "agent=%00",
        "bot=nowhere",
        "parent=%F0",
    ],
)
def test_absurd_query_parameters_are_400(api_client, query):
    response = api_client.get(f"/api/v1/runs/?{query}")
    assert response.status_code == 400, response.content
    assert response.json()["errors" if "%00" not in query else "detail"]


def test_a_defect_is_a_500_that_tells_nothing(api_client, monkeypatch):
    from agents.api.agents import AgentViewSet

    def fail(*_args, **_kwargs):
        raise ZeroDivisionError("the secret of the house")

    monkeypatch.setattr(AgentViewSet, "paginate_queryset", fail)
    api_client.raise_request_exception = False
    response = api_client.get(AGENTS)
    problem(response, 500, "server_error")
    assert b"secret of the house" not in response.content


def test_the_type_of_a_problem_can_be_opened(client):
    assert client.get("/problems/queue_full").status_code == 200


def test_request_id_comes_back(api_client):
    response = api_client.get(AGENTS, headers={"X-Request-ID": "abc-1"})
    assert response["X-Request-ID"] == "abc-1"
