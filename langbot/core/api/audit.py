"""REST for the audit log."""

from typing import Any

from rest_framework import mixins, serializers
from rest_framework.request import Request

from langbot.core.api.permissions import check_audit
from langbot.core.api.serializers import AuditSerializer
from langbot.core.models import AuditLog
from langbot.core.rest import WorkspaceViewSet


class AuditFilters(serializers.Serializer[Any]):
    actor = serializers.CharField(required=False, max_length=200)
    source: Any = serializers.CharField(required=False, max_length=100)
    action = serializers.CharField(required=False, max_length=100)
    object_type = serializers.CharField(required=False, max_length=100)
    object_id = serializers.CharField(required=False, max_length=100)
    created_after = serializers.DateTimeField(required=False, source="created_at__gt")
    created_before = serializers.DateTimeField(required=False, source="created_at__lt")


class AuditViewSet(
    mixins.RetrieveModelMixin, mixins.ListModelMixin, WorkspaceViewSet[AuditLog]
):
    """Acts of people and changes of the configuration, newest first."""

    queryset = AuditLog.objects.all()
    serializer_class = AuditSerializer
    filter_serializer = AuditFilters
    lookup_field = "pk"
    lookup_value_converter = "int"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_audit(request, self.workspace)
