"""Which workspace a request works in, and what its writes are signed with."""

from typing import Any

from django.http import HttpRequest
from rest_framework.request import Request

from langbot.core.models import ApiToken, Membership, Workspace

DEFAULT_WORKSPACE = "default"


def workspace_of(request: Request) -> Workspace | None:
    """Return the token's workspace, or that of a session user; None: sees nothing.

    A token whose user left the workspace opens nothing; superusers need no place.
    """
    token = request.auth
    if isinstance(token, ApiToken):
        is_member = getattr(token, "is_member", False) or token.user.is_superuser
        return token.workspace if is_member else None
    return workspace_of_user(request.user)


def workspace_of_user(user: Any) -> Workspace | None:
    """Return where a person works: `default` if a member there, else the oldest."""
    if not user.is_authenticated:
        return None
    memberships = Membership.objects.select_related("workspace").filter(user=user)
    places = [membership.workspace for membership in memberships.order_by("pk")]
    for place in places:
        if place.slug == DEFAULT_WORKSPACE:
            return place
    if places or not user.is_superuser:
        return places[0] if places else None
    return Workspace.objects.filter(slug=DEFAULT_WORKSPACE).first()


def source_of(request: Request) -> str:
    """Return the source of events that this caller sends (architecture 5)."""
    token = request.auth
    if isinstance(token, ApiToken):
        return f"api:{token.public_id}"
    return f"user:{request.user.pk}"


def actor_of(request: Request | HttpRequest) -> dict[str, Any]:
    """Return who speaks, from the credentials and never from the body (AG-131)."""
    user: Any = request.user
    name = user.get_full_name() or user.get_username()
    return {"type": "user", "id": f"user:{user.pk}", "name": name}


def author_of(request: Request | HttpRequest) -> str:
    """Return the name that versions and audit entries carry."""
    return str(request.user.get_username())
