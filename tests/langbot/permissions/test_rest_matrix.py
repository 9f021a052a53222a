"""REST: every route and method × role × workspace, as `tests/data/permissions.json`."""

from uuid import uuid4

import pytest
from django.db import transaction

from langbot.core.models import ApiToken
from runners.models import AgentRun
from tests.langbot.permissions.routes import rest_routes
from tests.langbot.permissions.worlds import ROLES

pytestmark = pytest.mark.django_db
PREFIX = "api/v1/"
ROUTES = rest_routes()
CASES = [(route, method) for route in ROUTES for method in route.methods]
NAMES = [f"{method} {route.path.removeprefix(PREFIX)}" for route, method in CASES]
SECOND = {
    "message_id": "langbot_runners.QueuedMessage",
    "token_id": "token of account",
}


def value_of(world, route, name, role):
    """Return what a path parameter is for a row of this world."""
    if name in SECOND:
        return world.rows[SECOND[name]].public_id
    if name == "number":
        return 1
    row = world.rows[route.model._meta.label]
    if route.model is ApiToken and role in world.users:
        row = ApiToken.objects.get(user=world.users[role])  # people see only theirs
    field = "slug" if name == "slug" else route.callback.cls.lookup_field
    return getattr(row, field)


def address(world, route, role=""):
    names = route.parameters
    return route.fill(**{name: value_of(world, route, name, role) for name in names})


def call(client, method, url):
    """Send a request and undo what it did."""
    with transaction.atomic():
        response = client.generic(method, url, "{}", content_type="application/json")
        transaction.set_rollback(True)
    return response


def test_every_route_has_an_expectation(expected):
    actual = {
        route.path.removeprefix(PREFIX): sorted(route.methods) for route in ROUTES
    }
    written = {path: sorted(methods) for path, methods in expected["rest"].items()}
    assert actual == written, "write what may call it into tests/data/permissions.json"


@pytest.mark.parametrize(("route", "method"), CASES, ids=NAMES)
def test_route_answers_each_role_as_written(worlds, client_of, expected, route, method):
    own, _other = worlds
    kind = expected["rest"][route.path.removeprefix(PREFIX)][method]
    allowed = expected["classes"][kind]
    for role in ["anonymous", *ROLES]:
        response = call(client_of(role), method, address(own, route, role))
        status = response.status_code
        assert status < 500
        if role == "anonymous":
            assert status == 401
        elif role == "nowhere" and role in allowed:
            assert is_nothing(response, method), (status, response.content)
        elif role in allowed:
            assert status not in {401, 403, 404, 405}, (role, response.content)
        else:
            assert status == 403, (role, response.content)


def is_nothing(response, method):
    """Whether someone without a workspace got nothing."""
    if method == "GET" and response.status_code == 200:
        return response.json()["results"] == []
    return response.status_code in {403, 404}


@pytest.mark.parametrize(
    ("route", "method"),
    [case for case in CASES if case[0].parameters],
    ids=[name for name, case in zip(NAMES, CASES, strict=True) if case[0].parameters],
)
def test_another_workspace_does_not_exist(worlds, client_of, expected, route, method):
    _own, other = worlds
    kind = expected["rest"][route.path.removeprefix(PREFIX)][method]
    unknown = {"slug": "no-such", "number": 1}
    if route.callback.cls.lookup_value_converter == "int":
        unknown["id"] = 2**40
    for role in expected["classes"][kind]:
        if role == "nowhere":
            continue
        client = client_of(role)
        response = call(client, method, address(other, route))
        names = dict.fromkeys(route.parameters, uuid4()) | unknown
        nobody = call(client, method, route.fill(**names))
        if method == "PUT":  # a slug is unique in the installation: taken or made
            assert response.status_code == 400
            continue
        assert response.status_code == nobody.status_code == 404, (role, response)
        assert response.json() == nobody.json()
        assert other.name not in response.content.decode()


@pytest.mark.parametrize(
    "route", [r for r in ROUTES if "GET" in r.methods], ids=lambda r: r.path
)
def test_what_is_read_names_nothing_of_another_workspace(worlds, client_of, route):
    own, other = worlds
    if route.path.endswith("stream/"):
        return  # `test_streams_of_another_workspace`
    ids = {str(getattr(row, "public_id", "-")) for row in other.rows.values()} - {"-"}
    response = call(client_of("admin"), "GET", address(own, route, "admin"))
    body = response.content.decode()
    assert other.name not in body
    assert not [one for one in ids if one in body]


@pytest.mark.parametrize(
    ("kind", "fields", "readers"),
    [
        ("runs", ["cost_microdollars"], {"admin", "auditor", "superuser"}),
        ("events", ["data", "delivery"], {"admin", "auditor", "superuser"}),
    ],
)
def test_costs_and_raw_payloads_are_for_some_eyes(
    worlds, client_of, kind, fields, readers
):
    own, _other = worlds
    run = own.rows["langbot_runners.AgentRun"]
    AgentRun.objects.filter(pk=run.pk).update(cost_microdollars=7)
    row = run if kind == "runs" else run.event
    for role in set(ROLES) - {"nowhere", "member"}:
        shown = client_of(role).get(f"/api/v1/{kind}/{row.public_id}/").json()
        for name in fields:
            assert (shown[name] is not None) == (role in readers), (role, name)
