"""Quotas and periods of a document: what may be spent, and how long things are kept."""

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from agents.models import Agent, Quota
from langbot.configuration.documents import QuotaDocument, RetentionDocument
from langbot.core.models import Workspace
from langbot.core.periods import WorkspaceRetention
from langbot.core.saving import save_row


def save_quota(workspace: Workspace, wanted: QuotaDocument, *, author: str) -> None:
    """Write a quota of the workspace; raises ValidationError."""
    place = {
        "workspace": workspace,
        "scope": wanted.scope,
        "agent": _agent(workspace, wanted.agent),
        "tier": wanted.tier or "",
        "window": wanted.window,
        "person": "",
    }
    row = Quota.objects.filter(**place).first() or Quota(**place)
    content = {
        "limit_microdollars": wanted.limit_microdollars,
        "enabled": wanted.enabled,
    }
    save_row(row, content, author)


def _agent(workspace: Workspace, slug: str) -> Agent | None:
    if not slug:
        return None
    agents = Agent.objects.filter(workspace=workspace, archived_at=None)
    found = agents.filter(slug=slug).first()
    if found is None:
        message = _("There is no such agent.")
        raise ValidationError({"agent": f"{slug}: {message}"})
    return found


def save_retention(
    workspace: Workspace, wanted: RetentionDocument, *, author: str
) -> None:
    """Write the periods of the workspace; raises ValidationError."""
    rows = WorkspaceRetention.objects.filter(workspace=workspace)
    row = rows.first() or WorkspaceRetention(workspace=workspace)
    save_row(row, wanted.model_dump(), author)
