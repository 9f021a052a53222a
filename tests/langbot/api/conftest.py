import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from rest_framework.test import APIClient

from langbot.core.tokens import create_api_token
from tests.factories import AgentFactory, WorkspaceFactory


@pytest.fixture
def make_client(db):
    """Return clients of new members of a workspace, in the group `admins`."""

    def make(workspace, name, **options):
        user, _ = get_user_model().objects.get_or_create(username=name)
        user.groups.set(
            Group.objects.filter(name__in=options.pop("groups", ["admins"]))
        )
        if options.pop("member", True):
            workspace.memberships.get_or_create(user=user)
        _, plain = create_api_token(user, workspace, "tests", **options)
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {plain}")
        return client

    return make


@pytest.fixture
def foreign_agent(db):
    """An agent of another workspace."""
    return AgentFactory.create(workspace=WorkspaceFactory.create(slug="elsewhere"))
