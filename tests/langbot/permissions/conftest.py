import json
from pathlib import Path

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from tests.langbot.permissions.worlds import build_worlds

EXPECTED = json.loads(
    (Path(__file__).parents[2] / "data" / "permissions.json").read_text()
)


@pytest.fixture
def expected():
    return EXPECTED


@pytest.fixture(scope="module")
def worlds(django_db_setup, django_db_blocker):
    """Both workspaces, made once: every call of a test is undone by itself."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield build_worlds()
        transaction.set_rollback(True)


@pytest.fixture(scope="module")
def client_of(worlds):
    """Return a REST client of a role; `anonymous` sends no token."""
    own, _other = worlds
    clients = {role: APIClient() for role in ["anonymous", *own.tokens]}
    for role, token in own.tokens.items():
        clients[role].credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return clients.__getitem__
