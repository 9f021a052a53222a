"""REST for the catalogue of runners."""

from typing import Any

from django.db.models import Q, QuerySet
from rest_framework import mixins, serializers

from agents.choices import ConnectionStatus
from agents.models import PluginConnection, RunnerDescriptor
from langbot.core.models import Workspace
from langbot.core.rest import WorkspaceViewSet


class RunnerSerializer(serializers.ModelSerializer[RunnerDescriptor]):
    id = serializers.CharField(source="runner_id")
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


class RunnerViewSet(
    mixins.RetrieveModelMixin, mixins.ListModelMixin, WorkspaceViewSet[RunnerDescriptor]
):
    """Runners that plugins offer to this workspace."""

    queryset = RunnerDescriptor.objects.all()
    serializer_class = RunnerSerializer
    lookup_field = "runner_id"
    lookup_value_converter = "path"

    def get_queryset(self) -> QuerySet[RunnerDescriptor]:
        if self.workspace is None:
            return RunnerDescriptor.objects.none()
        mine = Q(workspace=None) | Q(workspace=self.workspace)
        return RunnerDescriptor.objects.filter(mine)

    def get_serializer_context(self) -> dict[str, Any]:
        context = super().get_serializer_context()
        return {**context, "online": _online_runners(self.workspace)}


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
