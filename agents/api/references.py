"""How clients name an agent: by its id or by its slug."""

from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

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


@extend_schema_field(OpenApiTypes.STR)
class AgentReference(serializers.Field[Agent, Any, str, Any]):
    """An agent of the view's workspace by id or slug, shown as its id."""

    def to_internal_value(self, data: Any) -> Agent:
        agent = find_agent(self.context["view"].workspace, data)
        if agent is None:
            raise serializers.ValidationError(_("There is no such agent."))
        return agent

    def to_representation(self, value: Agent) -> str:
        return str(value.public_id)
