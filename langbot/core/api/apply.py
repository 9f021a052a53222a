"""REST for the configuration as one document."""

from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from langbot.configuration.apply import apply_configuration
from langbot.configuration.documents import ConfigurationDocument, read_document
from langbot.configuration.export import export_configuration
from langbot.core.access import author_of
from langbot.core.api.permissions import check_administers, may_bind_globally
from langbot.core.models import Workspace
from langbot.core.rest import WorkspaceViewSet
from langbot.problems import invalid

APPLY: dict[str, Any] = {"get": "export", "post": "apply"}
_MODELS = (
    "langbot_agents.%s_modelprovider",
    "langbot_agents.%s_model",
    "langbot_agents.%s_modelprice",
    "langbot_platforms.%s_bot",
    "langbot_agents.%s_agent",
    "langbot_agents.%s_agentbinding",
    "langbot_agents.%s_quota",
    "langbot_core.%s_workspaceretention",
)
_TRUE, _FALSE = {"1", "true", "yes"}, {"0", "false", "no"}
_DRY_RUN = OpenApiParameter(
    "dry_run",
    {"type": "string", "enum": [*sorted(_TRUE | _FALSE)]},
    description="`1` shows what would change, and changes nothing.",
)


class PathDifferenceSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    before = serializers.JSONField(allow_null=True)
    after = serializers.JSONField(allow_null=True)


class ObjectChangeSerializer(serializers.Serializer[Any]):
    object = serializers.CharField(help_text="Such as `agents/echo`.")
    action = serializers.ChoiceField(["created", "changed", "removed"])
    differences = PathDifferenceSerializer(many=True)


class ObjectWarningSerializer(serializers.Serializer[Any]):
    object = serializers.CharField()
    code = serializers.ChoiceField(["runner_unknown", "secret_missing"])
    detail = serializers.CharField()


class AppliedSerializer(serializers.Serializer[Any]):
    dry_run = serializers.BooleanField()
    changes = ObjectChangeSerializer(many=True)
    warnings = ObjectWarningSerializer(many=True)


class ApplyViewSet(WorkspaceViewSet[Workspace]):
    """The workspace's configuration: models with prices, bots, agents, limits."""

    queryset = Workspace.objects.all()
    workspace_field = "slug"
    serializer_class = AppliedSerializer
    rights: dict[str, tuple[str, ...]] = {
        "GET": tuple(name % "view" for name in _MODELS),
        "POST": tuple(
            name % verb for name in _MODELS for verb in ("add", "change", "delete")
        ),
    }

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_administers(request, self.workspace)

    @extend_schema(responses=ConfigurationDocument, operation_id="export_configuration")
    def export(self, request: Request) -> Response:
        """Return the configuration; it holds no secrets."""
        return Response(export_configuration(self.required_workspace()))

    @extend_schema(
        parameters=[_DRY_RUN],
        request=ConfigurationDocument,
        responses=AppliedSerializer,
        operation_id="apply_configuration",
    )
    def apply(self, request: Request) -> Response:
        """Make the workspace what the document says, whole or not at all.

        What it does not name stays, but for the bindings of agents it names: those
        are all in `bindings`. Secrets that it leaves out stay too.
        """
        workspace = self.required_workspace()
        dry_run = _read_dry_run(request)
        applied = apply_configuration(
            workspace,
            read_document(request.data),
            author=author_of(request),
            dry_run=dry_run,
            may_bind_globally=may_bind_globally(request),
        )
        answer = {"changes": applied.changes, "warnings": applied.warnings}
        return Response({"dry_run": dry_run, **answer})


def _read_dry_run(request: Request) -> bool:
    given = request.query_params.get("dry_run", "0").lower()
    if given not in _TRUE | _FALSE:
        message = _("Choose one of: %(names)s.") % {"names": "1, 0"}
        raise invalid({"dry_run": [message]})
    return given in _TRUE
