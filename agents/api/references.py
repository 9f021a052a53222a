"""How clients name an agent: by its id or by its slug."""

from typing import Any
from uuid import UUID

from django.db.models import Q

from agents.models import Agent
from langbot.core.models import Workspace


def find_agent(workspace: Workspace | None, given: Any) -> Agent | None:
    """Return the workspace's agent of this id or slug, archived ones excluded."""
    agents = Agent.objects.filter(archived_at=None, workspace=workspace)
    return agents.filter(reference_to(given)).first()


def reference_to(given: Any) -> Q:
    """Return the condition for a public id or a slug."""
    try:
        return Q(public_id=UUID(str(given)))
    except ValueError:
        return Q(slug=str(given))
