"""REST for how long a workspace keeps what it gathers."""

from typing import Any, Final

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from langbot.core.access import author_of
from langbot.core.api.permissions import check_administers
from langbot.core.models import Workspace
from langbot.core.periods import LONGEST_DAYS, WorkspaceRetention
from langbot.core.rest import StrictSerializer, WorkspaceViewSet
from langbot.core.saving import save_row
from langbot.lib.models import lock_rows

RETENTION: Final[dict[str, Any]] = {"get": "retrieve", "patch": "partial_update"}


class DaysField(serializers.IntegerField):
    """A number of days; 0 is for good."""

    def __init__(self, **kwargs: Any) -> None:
        bounds = {"min_value": 0, "max_value": LONGEST_DAYS, "required": False}
        super().__init__(**{**bounds, **kwargs})


class RetentionSerializer(StrictSerializer):
    run_days = DaysField()
    message_days = DaysField()
    file_days = DaysField()
    state_days = DaysField()
    usage_days = DaysField()
    audit_days = DaysField(
        allow_null=True, help_text="Null: what `LANGBOT_AUDIT_DAYS` says."
    )


class RetentionViewSet(WorkspaceViewSet[WorkspaceRetention]):
    """The periods of the workspace in days."""

    queryset = WorkspaceRetention.objects.all()
    serializer_class = RetentionSerializer

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_administers(request, self.workspace)

    @extend_schema(operation_id="retention")
    def retrieve(self, request: Request) -> Response:
        """Return the periods; the defaults where nobody set any."""
        return Response(self.get_serializer(_periods(self.required_workspace())).data)

    @extend_schema(operation_id="change_retention")
    def partial_update(self, request: Request) -> Response:
        """Change some of the periods; what is due goes with the next sweep."""
        workspace = self.required_workspace()
        serializer = self.get_serializer(data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        with transaction.atomic():
            lock_rows(Workspace.objects.filter(pk=workspace.pk))  # it may have no row
            row = _periods(workspace)
            save_row(row, serializer.validated_data, author_of(request))
        return Response(self.get_serializer(row).data)


def _periods(workspace: Workspace) -> WorkspaceRetention:
    found = WorkspaceRetention.objects.filter(workspace=workspace).first()
    return found or WorkspaceRetention(workspace=workspace)
