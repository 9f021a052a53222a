"""Every address that is neither REST nor a model's usual page × role × workspace."""

import re
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from tests.langbot.permissions.routes import other_routes
from tests.langbot.permissions.test_admin_matrix import person, status_of
from tests.langbot.permissions.worlds import ROLES

pytestmark = pytest.mark.django_db
ACTS = {
    "plugin": "disable",
    "agentrun": "retry",
    "delivery": "retry",
    "eventlog": "replay",
    "toolgrant": "revoke",
}
# Open to whoever knows a bot or has a link; signatures and tokens guard them.
BY_SLUG = {
    "webhooks/<slug:slug>/",
    "chat/<slug:slug>/",
    "chat/<slug:slug>/files/<str:address>/",
    "actions/<str:token>/",
}
PLAIN = {
    "code": "not_found",
    "rest": "files",
    "act": "cancel",
    "token": "x",
    "address": "x",
}


def label_of(route):
    """Return a route's name in the data; app labels are no part of it."""
    return re.sub(r"\(\?P<app_label>[^)]*\)", "(?P<app_label>…)", route.path)


ROUTES = {label_of(route): route for route in other_routes()}


def values_for(world, route):
    """Return the path parameters that name rows of a world."""
    parts = route.path.split("/")
    rows = {label.lower(): row for label, row in world.rows.items()}
    found: dict[str, Any] = dict(PLAIN)
    if route.path.startswith("admin/langbot"):
        row = rows[f"{parts[1]}.{parts[2]}"]
        found |= {"pk": row.pk, "act": ACTS.get(parts[2], "cancel")}
        found["public_id"] = getattr(row, "public_id", "")
    version = world.rows["langbot_agents.Plugin"].versions.first()
    found["version"] = version.pk if version else 0
    agent = world.rows["langbot_agents.Agent"]
    bot = world.rows["langbot_platforms.Bot"]
    is_chat = route.path.startswith(("webhooks", "chat"))
    found["slug"] = bot.slug if is_chat else agent.slug
    found["id"] = world.rows["langbot_core.Membership"].user_id
    if "/actions/" in route.path:
        found["id"] = world.rows["langbot_runners.PendingAction"].public_id
    found |= {"content_type_id": 1, "object_id": agent.pk}
    return found


def address(world, route):
    if "(?P" in route.path:
        return "/admin/langbot_agents/"
    return route.fill(**values_for(world, route))


def rest_status(world, client_of, role, method, url):
    client = client_of(role)
    with transaction.atomic():
        status = client.generic(
            method, url, "{}", content_type="application/json"
        ).status_code
        transaction.set_rollback(True)
    return status


def page_status(own, role, method, url):
    client = Client()
    if role != "anonymous":
        client.force_login(own.users[role])
    return client.generic(method, url).status_code


def test_every_address_has_an_expectation(expected):
    assert sorted(expected["routes"]) == sorted(ROUTES), (
        "write who may open it into tests/data/permissions.json"
    )


@pytest.mark.parametrize("name", sorted(ROUTES))
def test_address_answers_each_role_as_written(worlds, client_of, expected, name):
    own, _other = worlds
    route = ROUTES[name]
    url = address(own, route)
    for method, kind in expected["routes"][name].items():
        allowed = expected["classes"][kind]
        for role in ["anonymous", *([] if kind == "public" else ROLES)]:
            if name.startswith("v1/"):
                status = rest_status(own, client_of, role, method, url)
            elif name.startswith("admin/"):
                status = status_of(person(own, role), method, url)
            else:
                status = page_status(own, role, method, url)
            case = (method, role, status)
            if kind == "public":
                assert status in {200, 302, 400} or name in BY_SLUG, case
            elif role == "nowhere":
                assert status in {200, 302, 400, 403, 404}, case
            elif role in allowed:
                assert status not in {401, 403, 404, 405, 500}, case
            else:
                assert status in {401, 403, 404}, case


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in sorted(ROUTES)
        if any(key in name for key in ("<int:pk>", "by-id/", "v1/models/<"))
    ],
)
def test_rows_of_another_workspace_do_not_exist(worlds, client_of, expected, name):
    own, other = worlds
    url = address(other, ROUTES[name])
    for method, kind in expected["routes"][name].items():
        for role in set(expected["classes"][kind]) - {"superuser", "anonymous"}:
            if name.startswith("v1/"):
                status = rest_status(own, client_of, role, method, url)
                wanted = {404, 403} if role == "nowhere" else {404}
            else:
                status, wanted = status_of(own.users[role], method, url), {404}
            assert status in wanted, (method, role, status)


@pytest.mark.parametrize(
    ("app", "model", "field"),
    [
        ("langbot_agents", "agentbinding", "agent"),
        ("langbot_agents", "model", "provider"),
        ("langbot_platforms", "bot", "workspace"),
    ],
)
def test_autocomplete_offers_rows_of_the_workspace_only(worlds, app, model, field):
    own, other = worlds
    client = Client()
    for role in ("admin", "superuser", "nowhere"):
        client.force_login(own.users[role])
        query = {"app_label": app, "model_name": model, "field_name": field}
        body = client.get("/admin/autocomplete/", query).content.decode()
        assert (other.name in body) == (role == "superuser")
        assert (own.name in body) == (role != "nowhere")


def test_pages_name_nothing_of_another_workspace(worlds, expected):
    """Rendered whole: choices, filters, tiles, links, histories."""
    from tests.langbot.permissions.test_admin_matrix import MODELS, row_of
    from tests.langbot.permissions.test_admin_matrix import address as page_of

    own, other = worlds
    client = Client()
    client.force_login(own.users["admin"])
    pages = ["/admin/", "/admin/langbot_agents/", "/admin/search/?s=zz"]
    pages += [
        address(own, ROUTES[name])
        for name in ROUTES
        if "<int:pk>" in name and "GET" in expected["routes"][name]
    ]
    for model in MODELS:
        row = row_of(own, model)
        pages += [page_of(model, "changelist"), page_of(model, "add")]
        pages.append(page_of(model, "change", row))
    leaks = []
    for page in pages:
        response = client.get(page)
        assert response.status_code in {200, 302, 403}, page
        if other.name in response.content.decode():
            leaks.append(page)
    assert not leaks
