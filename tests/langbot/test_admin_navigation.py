"""The sidebar names the pages that the site in use has."""

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.urls import reverse

from langbot.admin_navigation import NAVIGATION

# Stand-ins for a project's own user model: one with a page, one without.
OWN, WITHOUT_PAGE = "langbot_core.Workspace", "langbot_core.IdempotencyKey"


def item(title):
    items = [item for group in NAVIGATION for item in group["items"]]
    return next(one for one in items if str(one["title"]) == title)


@pytest.fixture
def request_of_root(rf, db):
    request = rf.get("/")
    request.user = get_user_model().objects.create_superuser("root", password="x")
    return request


def test_users_are_those_of_the_project(settings, request_of_root):
    users = item("Users")
    assert str(users["link"]) == reverse("admin:auth_user_changelist")
    settings.AUTH_USER_MODEL = OWN
    assert str(users["link"]) == reverse("admin:langbot_core_workspace_changelist")
    assert users["permission"](request_of_root) is True


def test_a_user_model_without_a_page_has_no_link(settings, request_of_root):
    settings.AUTH_USER_MODEL = WITHOUT_PAGE
    users = item("Users")
    assert str(users["link"]) == ""
    assert users["permission"](request_of_root) is False


def test_the_admin_opens_without_pages_of_users(client, request_of_root, monkeypatch):
    """A project may take them off the site; what is left has to work."""
    left = {
        model: page
        for model, page in admin.site._registry.items()
        if model not in {get_user_model(), Group}
    }
    monkeypatch.setattr(admin.site, "_registry", left)
    client.force_login(request_of_root.user)
    assert client.get(reverse("admin:index")).status_code == 200
