"""Hundreds of requests that are wrong in every way: a typed 4xx each, never a 5xx."""

import json
from typing import Any

import pytest

from agents.api.bindings import BindingSerializer as NewBinding
from agents.api.serializers import AgentSerializer as NewAgent
from langbot.core.api.serializers import TokenSerializer as NewToken
from platforms.api.bots import BotSerializer as NewBot
from runners.api.events import NewEventSerializer as NewEvent
from runners.api.serializers import NewMessageSerializer as NewMessage
from tests.support.rest import admin_client_of
from tests.support.rest_routes import routes
from tests.support.rest_rows import add_rows, places

DEEP = 3000
BODIES = {
    "nothing": b"",
    "cut": b'{"slug": "a',
    "a comma": b'{"a": 1,}',
    "two values": b"{} {}",
    "NUL text": b'{"slug": "a\\u0000b", "text": "\\u0000", "name": "\\u0000"}',
    "NUL byte": b'{"slug": "\x00"}',
    "NUL name": b'{"sl\\u0000ug": 1}',
    "not UTF-8": b'{"slug": "\xff\xfe", "text": "\xc3"}',
    "UTF-16": '{"slug": "a"}'.encode("utf-16"),
    "a BOM": b"\xef\xbb\xbf{}",
    "a surrogate": b'{"slug": "\\ud800", "text": "\\udfff"}',
    "NaN": b'{"slug": NaN, "priority": Infinity}',
    "a huge number": b'{"priority": 1' + b"0" * 5000 + b"}",
    "a huge float": b'{"priority": 1e400, "wait": -1e400}',
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "a list": b"[1, 2]",
    "null": b"null",
    "a string": b'"text"',
    "a number": b"7",
    "true": b"true",
}
WRONG: list[Any] = [
    None,
    True,
    7,
    -(10**40),
    1.5,
    "",
    "x" * 70_000,
    [],
    [[]],
    {},
    {"a": {}},
    "\n",
]
# Every field that some body has.
FIELDS: set[str] = {
    str(name)
    for schema in (NewAgent, NewBinding, NewBot, NewEvent, NewMessage, NewToken)
    for name in schema().fields
} | {"groups", "format", "agents", "bots", "providers", "decision", "value", "version"}
TYPES = [
    "text/plain",
    "application/xml",
    "multipart/form-data",
    "",
    "application/",
    "é",
]
HEADERS = [
    {"Authorization": "Bearer \x00"},
    {"Authorization": "Bearer " + "x" * 5000},
    {"Authorization": "Basic !!!"},
    {"Authorization": "\xff\xfe"},
    {"If-Match": "\xff" * 100, "Idempotency-Key": "é"},
    {"Idempotency-Key": "x" * 5000},
    {"Accept": "*" * 3000},
    {"Accept": "text/event-stream;q=x"},
    {"Accept-Language": "x" * 4000},
    {"Last-Event-ID": "9" * 400},
    {"X-Request-ID": "\x00\n"},
    {"X-HTTP-Method-Override": "DELETE"},
    {"Range": "bytes=9-1"},
    {"Content-Length": "-5"},
]
VALUES = [
    "",
    "%00",
    "%ff",
    "-1",
    "9" * 400,
    "NaN",
    "[]",
    "{}",
    "%F0%9F%92%A9",
    "a" * 5000,
]
PARAMETERS = [
    *("limit", "cursor", "ordering", "wait", "after", "dry_run", "against"),
    *("status", "created_after", "enabled", "agent", "bot", "run", "parent"),
    *("conversation", "scope", "type", "slug", "key", "online", "metadata.x"),
]
WRITING = ("post", "put", "patch")


@pytest.fixture
def client(workspace, django_user_model):
    client = admin_client_of(workspace)
    client.raise_request_exception = False
    add_rows(workspace, django_user_model.objects.get(username="boss"))
    return client


@pytest.fixture
def targets(client):
    known = places()
    return [(route, route.url(known)) for route in routes()]


def check(response, what):
    assert response.status_code < 500, (what, response.status_code, response.content)
    if response.status_code >= 400:
        assert response["Content-Type"] == "application/problem+json", what
        assert json.loads(response.content)["code"], what
    assert b"Traceback" not in response.getvalue(), what
    return response.status_code


def writing(targets):
    return [
        (method, url)
        for route, url in targets
        for method in WRITING
        if method in route.methods
    ]


def reading(targets):
    endless = {"run-stream"}
    return [
        url
        for route, url in targets
        if "get" in route.methods and route.name not in endless
    ]


def test_bodies(client, targets):
    """Unreadable bodies to every route that writes."""
    asked = 0
    for method, url in writing(targets):
        for name, body in BODIES.items():
            answer = client.generic(method, url, body, content_type="application/json")
            check(answer, (method, url, name))
            asked += 1
    assert asked > 400


def test_unreadable_bodies_change_nothing(client):
    for name, body in BODIES.items():
        answer = client.generic(
            "POST", "/api/v1/agents/", body, content_type="application/json"
        )
        assert check(answer, name) == 400, name


@pytest.mark.parametrize("value", WRONG, ids=lambda value: repr(value)[:20])
def test_wrong_types(client, targets, value):
    """Every field with a value of a wrong type, to every route that writes."""
    body = json.dumps(dict.fromkeys(FIELDS, value))
    for method, url in writing(targets):
        answer = client.generic(method, url, body, content_type="application/json")
        check(answer, (method, url, value))


GOOD = {
    "agents/": {"slug": "new", "name": "N", "runner": "plugin:a/b/c"},
    "bots/": {"slug": "new", "name": "N", "adapter": "web"},
    "bindings/resolve/": {"type": "a.b"},
    "apply/?dry_run=1": {"format": "langbot/1"},
}


@pytest.mark.parametrize("path", GOOD)
def test_one_wrong_field_at_a_time(client, path):
    """A body that is right but for one field."""
    for field in sorted(FIELDS):
        wrong: list[Any] = [None, [[]]]
        for value in wrong:
            body = {**GOOD[path], field: value}
            answer = client.post(f"/api/v1/{path}", body, format="json")
            check(answer, (path, field, value))


def test_content_types(client, targets):
    for method, url in writing(targets):
        for kind in TYPES:
            check(client.generic(method, url, b"a=b", content_type=kind), (url, kind))


@pytest.mark.parametrize("headers", HEADERS, ids=lambda one: str(one)[:30])
def test_headers(client, targets, headers):
    for url in reading(targets)[::3]:
        check(client.get(url, headers=headers), url)
    body = {"slug": "new", "name": "N", "runner": "plugin:a/b/c"}
    check(client.post("/api/v1/agents/", body, format="json", headers=headers), "POST")


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:10])
def test_query_parameters(client, targets, value):
    """Every route with all parameters wrong; some lists with one at a time."""
    everything = "&".join(f"{name}={value}" for name in PARAMETERS)
    for url in reading(targets):
        check(client.get(f"{url}?{everything}"), url)
    for path in ("agents", "runs"):
        for name in PARAMETERS:
            check(client.get(f"/api/v1/{path}/?{name}={value}"), (path, name))


@pytest.mark.parametrize(
    "path",
    [
        "agents/%00/",
        "agents/%ff/",
        "agents/" + "a" * 3000 + "/",
        "agents/by-slug/%00/",
        "agents/by-slug/ü/",
        "runners/%00/",
        "runners/plugin:a/b/c%00/",
        "runners/" + "x" * 3000 + "/",
        "runners/../../etc/passwd/",
        "state/" + "9" * 400 + "/",
        "audit/" + "9" * 30 + "/",
        "runs/00000000-0000-0000-0000-00000000000g/",
        "%E2%80%AE/",
    ],
    ids=lambda path: path[:25],
)
def test_paths(client, path):
    for method in ("get", "post", "patch", "delete", "options", "trace", "head"):
        answer = getattr(client, method)(f"/api/v1/{path}")
        assert answer.status_code < 500, method
