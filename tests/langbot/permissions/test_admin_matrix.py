"""The admin: every page and action × role × workspace, as `permissions.json` has it."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages.storage.cookie import CookieStorage
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404
from django.test import RequestFactory
from django.urls import resolve, reverse

from langbot.core.tenancy import path_to_workspace
from tests.langbot.permissions.worlds import ROLES, bounded_models

pytestmark = pytest.mark.django_db
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
LABELS = [model._meta.label for model in MODELS]
EVERYBODY = ["anonymous", *ROLES]
# page -> method and the right that it takes
DOORS = [
    ("changelist", "GET", "view"),
    ("change", "GET", "view"),
    ("history", "GET", "view"),
    ("add", "GET", "add"),
    ("change", "POST", "change"),
    ("delete", "POST", "delete"),
]


def address(model, page, row=None):
    meta = model._meta
    name = f"admin:{meta.app_label}_{meta.model_name}_{page}"
    return reverse(name, args=[] if row is None else [row.pk])


def request_of(user, method, url, data=None):
    """Return a request as the middleware leaves it, without the cost of rendering."""
    request = getattr(RequestFactory(), method.lower())(url, data or {})
    request.user = user
    request.session = {}
    request._messages = CookieStorage(request)
    request._dont_enforce_csrf_checks = True
    request.resolver_match = resolve(request.path_info)
    return request


def status_of(user, method, url, data=None):
    """Return the status a page answers with; what it did is undone."""
    request = request_of(user, method, url, data)
    match = request.resolver_match
    with transaction.atomic():
        try:
            response = match.func(request, *match.args, **match.kwargs)
            status = response.status_code
            if status == 302 and "/login/" in response["Location"]:
                status = 401
        except PermissionDenied:
            status = 403
        except Http404:
            status = 404
        transaction.set_rollback(True)
    return status


def person(own, role):
    return AnonymousUser() if role == "anonymous" else own.users[role]


def row_of(own, model):
    known = own.rows.get(model._meta.label)
    return known if known is not None else model._default_manager.order_by("pk").first()


def doors(page_kinds):
    return [d for d in DOORS if d[0] in page_kinds]


def test_every_model_has_an_expectation(expected):
    assert sorted(expected["pages"]) == LABELS


def test_every_bounded_model_has_a_row_in_both_worlds(worlds):
    for world in worlds:
        missing = {model._meta.label for model in bounded_models()} - set(world.rows)
        assert not missing, "add a row to tests/langbot/permissions/worlds.py"


@pytest.mark.parametrize("model", MODELS, ids=LABELS)
def test_pages_answer_each_role_as_written(worlds, expected, model):
    own, _other = worlds
    row = row_of(own, model)
    written = expected["pages"][model._meta.label]
    for page, method, right in DOORS:
        url = address(model, page, None if page in {"changelist", "add"} else row)
        data = {"post": "yes"} if page == "delete" else {}
        allowed = expected["classes"][written[right]]
        for role in EVERYBODY:
            status = status_of(person(own, role), method, url, data)
            case = (page, method, role, status)
            if role == "anonymous":
                assert status == 401, case
            elif role == "nowhere":
                assert status in nothing_at(page, allowed), case
            elif role in allowed:
                assert status in {200, 302}, case
            else:
                assert status == 403, case


def nothing_at(page, allowed):
    """What someone without a workspace may be told."""
    if page == "changelist":
        return {200} if "nowhere" in allowed else {403}
    return {200, 403} if page == "add" else {403, 404}


@pytest.mark.parametrize("model", bounded_models(), ids=lambda model: model._meta.label)
def test_rows_of_another_workspace_do_not_exist(worlds, expected, model):
    own, other = worlds
    row = other.rows[model._meta.label]
    written = expected["pages"][model._meta.label]
    for page, method, right in DOORS:
        if page in {"changelist", "add"}:
            continue
        for role in expected["classes"][written[right]]:
            if role == "superuser":
                continue
            url = address(model, page, row)
            status = status_of(person(own, role), method, url, {"post": "yes"})
            assert status == 404, (page, method, role)
            gone = url.replace(f"/{row.pk}/", f"/{2**40}/")
            assert status_of(person(own, role), method, gone) == 404


@pytest.mark.parametrize("model", MODELS, ids=LABELS)
def test_lists_hold_the_rows_of_the_workspace_only(worlds, model):
    own, other = worlds
    row_admin = admin.site._registry[model]
    mine, foreign = own.rows.get(model._meta.label), other.rows.get(model._meta.label)
    for role in ROLES:
        request = request_of(own.users[role], "GET", address(model, "changelist"))
        rows = row_admin.get_queryset(request)
        if role == "nowhere" and model._meta.app_label.startswith("langbot_"):
            assert not rows.exists()
        elif path_to_workspace(model):
            assert rows.filter(pk=mine.pk).exists()
            assert rows.filter(pk=foreign.pk).exists() == (role == "superuser")


def test_people_see_the_users_of_their_workspaces(worlds):
    own, other = worlds
    from django.contrib.auth import get_user_model

    users = admin.site._registry[get_user_model()]
    request = request_of(own.users["admin"], "GET", address(users.model, "changelist"))
    names = {user.get_username() for user in users.get_queryset(request)}
    assert "the-viewer" in names
    assert not [name for name in names if other.name in name]
    assert "the-nowhere" not in names


@pytest.mark.parametrize("model", MODELS, ids=LABELS)
def test_actions_are_offered_to_each_role_as_written(worlds, expected, model):
    own, _other = worlds
    written = expected["actions"].get(model._meta.label, {})
    row_admin = admin.site._registry[model]
    actual = {
        role: set(
            row_admin.get_actions(
                request_of(own.users[role], "GET", address(model, "changelist"))
            )
        )
        for role in ROLES
    }
    for role in ROLES:
        wanted = {
            action
            for action, kind in written.items()
            if role in expected["classes"][kind]
        }
        assert actual[role] == wanted, role
