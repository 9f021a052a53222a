"""Who may do what in REST beyond their workspace and scopes; the one place for it."""

from typing import Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from langbot.core.models import Membership, Workspace


def administers(request: Request, workspace: Workspace | None) -> bool:
    """Whether the caller runs this workspace: its admins, and superusers."""
    if request.user.is_superuser:
        return True
    user: Any = request.user
    places = Membership.objects.filter(user_id=user.pk, workspace=workspace)
    return places.filter(role=Membership.Role.ADMIN).exists()


def check_administers(request: Request, workspace: Workspace | None) -> None:
    """Raise 403 unless the caller runs this workspace."""
    if not administers(request, workspace):
        raise PermissionDenied(_("Only admins of the workspace may do this."))


def check_audit(request: Request, workspace: Workspace | None) -> None:
    """Raise 403 unless the caller may read the workspace's audit log."""
    if not request.user.has_perm("langbot_core.view_auditlog"):
        raise PermissionDenied(_("Your groups do not allow this."))


def may_bind_globally(request: Request) -> bool:
    """Whether the caller may let an agent answer in every workspace."""
    return bool(request.user.is_superuser)  # staff may stand in one workspace only


def check_global(request: Request) -> None:
    """Raise 403 unless the caller may let an agent answer in every workspace."""
    if not may_bind_globally(request):
        raise PermissionDenied(_("Only superusers may bind every workspace."))
