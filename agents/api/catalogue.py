"""REST for the catalogue of runners."""

from functools import cached_property
from typing import Any

from django.db.models import Q, QuerySet
from rest_framework import mixins, serializers

from agents.choices import ConnectionStatus
from agents.models import PluginConnection, RunnerDescriptor
from langbot.core.models import Workspace
from langbot.core.rest import WorkspaceViewSet


class RunnerSerializer(serializers.ModelSerializer[RunnerDescriptor]):
    id = serializers.CharField(source="runner_id")
    label: Any = serializers.DictField(child=serializers.CharField())
    description = serializers.DictField(child=serializers.CharField())
    capabilities = serializers.DictField()
    permissions = serializers.DictField()
    config_schema: Any = serializers.ListField(child=serializers.DictField())
    online = serializers.SerializerMethodField()

    class Meta:
        model = RunnerDescriptor
        fields = [
            "id",
            "label",
            "description",
            "plugin",
            "version",
            "kind",
            "enabled",
            "capabilities",
            "permissions",
            "config_schema",
            "online",
            "last_error",
            "last_seen_at",
        ]

    def get_online(self, runner: RunnerDescriptor) -> bool:
        return runner.runner_id in self.context["online"]


class RunnerFilters(serializers.Serializer[Any]):
    plugin = serializers.CharField(required=False, max_length=200)
    kind = serializers.CharField(required=False, max_length=20)
    version = serializers.CharField(required=False, max_length=50)
    enabled = serializers.BooleanField(required=False, allow_null=True, default=None)
    online = serializers.BooleanField(required=False, allow_null=True, default=None)


class RunnerViewSet(
    mixins.RetrieveModelMixin, mixins.ListModelMixin, WorkspaceViewSet[RunnerDescriptor]
):
    """Runners that plugins offer to this workspace."""

    queryset = RunnerDescriptor.objects.all()
    serializer_class = RunnerSerializer
    filter_serializer = RunnerFilters
    lookup_field = "runner_id"
    lookup_value_converter = "path"
    orderings = {"id": "runner_id", "plugin": "plugin", "created_at": "created_at"}

    def get_queryset(self) -> QuerySet[RunnerDescriptor]:
        if self.workspace is None:
            return RunnerDescriptor.objects.none()
        mine = Q(workspace=None) | Q(workspace=self.workspace)
        return RunnerDescriptor.objects.filter(mine)

    def filter_rows(
        self, queryset: QuerySet[RunnerDescriptor], given: dict[str, Any]
    ) -> QuerySet[RunnerDescriptor]:
        online = given.pop("online", None)
        if online is not None:
            found = Q(runner_id__in=self.online)
            queryset = queryset.filter(found if online else ~found)
        return queryset.filter(
            **{name: value for name, value in given.items() if value is not None}
        )

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "online": self.online}

    @cached_property
    def online(self) -> set[str]:
        """The ids of runners that a plugin serves now; asked once per request."""
        return _online_runners(self.workspace)


def _online_runners(workspace: Workspace | None) -> set[str]:
    if workspace is None:
        return set()  # the schema is generated without a request, and a database
    connections = PluginConnection.objects.filter(
        Q(workspace=None) | Q(workspace=workspace), status=ConnectionStatus.ONLINE
    )
    return {
        runner
        for runners in connections.values_list("runners", flat=True)
        for runner in runners
    }
