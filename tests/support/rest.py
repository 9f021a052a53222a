"""REST clients for tests."""

from django.contrib.auth import get_user_model
from rest_framework.test import APIClient

from langbot.core.tokens import create_api_token


def client_of(user, workspace, **options):
    """Return a client with a new token of a user."""
    _, plain = create_api_token(user, workspace, "tests", **options)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {plain}")
    return client


def admin_client_of(workspace, name="boss", **options):
    """Return a client of a superuser who runs the workspace."""
    user, _ = get_user_model().objects.get_or_create(
        username=name, defaults={"is_superuser": True, "is_staff": True}
    )
    workspace.memberships.get_or_create(user=user, defaults={"role": "admin"})
    return client_of(user, workspace, **options)
