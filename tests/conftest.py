"""Fixtures for every test; `tests.environment` says what they run on."""

import os
import shutil
from pathlib import Path

import pytest
from asgiref.sync import SyncToAsync
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import connection, connections
from rest_framework.test import APIClient

from langbot.lib.db import shutdown_all
from tests.environment import ENVIRONMENT, half
from tests.factories import AgentFactory, WorkspaceFactory

# Before their import: their asserts then show values.
pytest.register_assert_rewrite("tests.support")

from tests.support.host import host, shared_host  # noqa: E402, F401 - fixtures

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")


def pytest_unconfigure():
    ENVIRONMENT.stop()


def pytest_report_header():
    return f"deployment: {half()}"


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"These tests ran on {half()}.")
    if chromium() is None:
        terminalreporter.write_line("No Chromium found: browser tests were skipped.")


def pytest_collection_modifyitems(items):
    if chromium() is not None:
        return
    missing = pytest.mark.skip(reason="no Chromium is installed")
    for item in items:
        if "browser" in item.keywords:
            item.add_marker(missing)


def chromium():
    """Return the path of an installed Chromium, or None."""
    found = (shutil.which(name) for name in CHROMIUM_NAMES)
    return next((path for path in found if path), None)


@pytest.fixture(scope="session")
def chromium_path():
    return chromium()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings):
    """Let a test look elsewhere while its transaction waits, as no worker may."""
    connection.settings_dict["OPTIONS"].pop("options", None)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """End what threads still have open before the test database is dropped."""
    yield
    with django_db_blocker.unblock():
        shutdown_all()
        SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture
def workspace(db):
    """The workspace `default`."""
    return WorkspaceFactory(slug="default", name="Default")


@pytest.fixture
def agent(workspace):
    """An enabled agent of `workspace` on the echo runner."""
    return AgentFactory(workspace=workspace)


@pytest.fixture
def user(workspace):
    """A member of `workspace`, in the group `admins`, that no admin page lets in."""
    member = get_user_model().objects.create_user("ada", password="ada's password")
    member.groups.add(Group.objects.get(name="admins"))
    workspace.memberships.create(user=member)
    return member


@pytest.fixture
def api_client(user, workspace):
    """A REST client with an API token of `user` for `workspace`."""
    from langbot.core.tokens import create_api_token

    _, token = create_api_token(user, workspace, "tests")
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


@pytest.fixture
def process_environment(transactional_db):
    """Variables for a process that works on this test's database and Redis."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        database_url = f"sqlite://{name}"
    else:
        base, _, query = os.environ["DATABASE_URL"].partition("?")
        database_url = f"{base.rsplit('/', 1)[0]}/{name}" + (query and f"?{query}")
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": str(ROOT),
    }
