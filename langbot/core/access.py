"""Which workspace a request works in, and what its writes are signed with."""

from typing import Any, TypeVar

from django.contrib.auth import get_user_model
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from rest_framework.request import Request

from langbot.core.authors import ADMIN, REST, Author
from langbot.core.models import ApiToken, Membership, Workspace
from langbot.core.tenancy import is_ours, path_to_workspace, workspace_id_of

Row = TypeVar("Row", bound=Model)

DEFAULT_WORKSPACE = "default"
SECRETS = "langbot_core.manage_secrets"


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
    return actor_of_user(request.user)


def actor_of_user(user: Any) -> dict[str, Any]:
    """Return how events name a person of this installation."""
    full_name = getattr(
        user, "get_full_name", str
    )()  # a project's own user may lack it
    name = full_name or user.get_username()
    return {"type": "user", "id": f"user:{user.pk}", "name": name}


def author_of(request: Request | HttpRequest) -> Author:
    """Return the name that versions and audit entries carry, and its door."""
    name = str(request.user.get_username())
    may = request.user.has_perm(SECRETS)
    return Author(name, _door(request), may_write_secrets=may)


def _door(request: Request | HttpRequest) -> str:
    if not isinstance(request, Request):
        return ADMIN
    token = request.auth
    return f"{REST}:{token.public_id}" if isinstance(token, ApiToken) else REST


def workspace_ids(user: Any) -> list[int]:
    """Return the keys of a person's workspaces; asked once per request."""
    known: list[int] | None = getattr(user, "_langbot_workspaces", None)
    if known is None:
        mine = Membership.objects.filter(user_id=user.pk).order_by("pk")
        known = list(mine.values_list("workspace_id", flat=True))
        user._langbot_workspaces = known
    return known


def administered_ids(user: Any) -> list[int]:
    """Return the keys of the workspaces whose members a person looks after."""
    places = Membership.objects.filter(user_id=user.pk, role=Membership.Role.ADMIN)
    return list(places.values_list("workspace_id", flat=True))


def visible_rows(
    user: Any, rows: QuerySet[Row], *, shared: bool = False
) -> QuerySet[Row]:
    """Keep the rows of the person's workspaces; superusers see all.

    `shared` adds those that belong to no workspace and serve all. Who is in no
    workspace sees nothing of ours.
    """
    if user.is_superuser:
        return rows
    places, path = workspace_ids(user), path_to_workspace(rows.model)
    if rows.model is get_user_model():
        members = Membership.objects.filter(workspace__in=places)
        return rows.filter(pk__in=members.values("user"))
    if not is_ours(rows.model):
        return rows  # a project's own; its permissions decide
    if path is None or not places:
        return rows if places else rows.none()
    mine = Q(**{f"{path}__in": places})
    return rows.filter(mine | Q(**{path: None}) if shared else mine)


class TenantBoundary:
    """Bounds the admin (`langbot.lib.boundary.Boundary`)."""

    def rows(
        self, request: HttpRequest, rows: QuerySet[Any], *, shared: bool
    ) -> QuerySet[Any]:
        return visible_rows(request.user, rows, shared=shared)

    def may_change(self, request: HttpRequest, row: Model) -> bool:
        user: Any = request.user
        if user.is_superuser or not is_ours(type(row)):
            return True
        return workspace_id_of(row) in workspace_ids(user)

    def may_share(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def may_write_secrets(self, request: HttpRequest, row: Model | None) -> bool:
        return request.user.has_perm(SECRETS)
