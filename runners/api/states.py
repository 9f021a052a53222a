"""REST for runner state: browse, and set by compare-and-set."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from langbot.core.access import author_of
from langbot.core.rest import StrictSerializer, WorkspaceViewSet
from langbot.problems import Problem, invalid
from runners.ledger.scopes import SCOPES
from runners.ledger.state_store import StateRefusedError, StateWrite
from runners.models import AgentRun, RunnerState
from runners.states import (
    VersionConflictError,
    keys_of,
    remove_state,
    set_state,
    states_of,
)

_VERSION = 2**31 - 2  # the column's, less the one that is added


class StateSerializer(serializers.ModelSerializer[RunnerState]):
    runner = serializers.CharField(source="runner_id")

    class Meta:
        model = RunnerState
        fields = [
            "id",
            "runner",
            "scope",
            "scope_key",
            "key",
            "value",
            "version",
            "expires_at",
            "updated_at",
        ]


class StateFilters(serializers.Serializer[Any]):
    runner = serializers.CharField(required=False, max_length=300, source="runner_id")
    scope = serializers.ChoiceField(required=False, choices=SCOPES)
    scope_key = serializers.CharField(required=False, max_length=100)
    key = serializers.CharField(required=False, max_length=200)
    run = serializers.UUIDField(
        required=False, help_text="What this run may read, in all its scopes."
    )


class ChangedStateSerializer(StrictSerializer):
    value: Any = serializers.JSONField(allow_null=True)
    version = serializers.IntegerField(
        min_value=0,
        max_value=_VERSION,
        help_text="The version that you saw; 0 says that there is no value yet.",
    )


class NewStateSerializer(ChangedStateSerializer):
    run = serializers.UUIDField(help_text="A run that has this scope.")
    scope = serializers.ChoiceField(choices=SCOPES)
    key = serializers.CharField(max_length=200, trim_whitespace=False)


class StateViewSet(
    mixins.RetrieveModelMixin, mixins.ListModelMixin, WorkspaceViewSet[RunnerState]
):
    """Values that runners keep. Scope keys are hashes: a run leads to its own."""

    queryset = RunnerState.objects.all()
    serializer_class = StateSerializer
    filter_serializer = StateFilters
    lookup_field = "pk"
    lookup_value_converter = "int"

    def get_queryset(self) -> QuerySet[RunnerState]:
        if self.workspace is None:
            return RunnerState.objects.none()
        return states_of(self.workspace)

    def filter_rows(
        self, queryset: QuerySet[RunnerState], given: dict[str, Any]
    ) -> QuerySet[RunnerState]:
        run_id = given.pop("run", None)
        if run_id is not None:
            run = self._run(run_id)
            keys = keys_of(run).values() if run is not None else []
            queryset = queryset.filter(scope_key__in=list(keys))
        return queryset.filter(**given)

    @extend_schema(
        request=NewStateSerializer,
        responses={200: StateSerializer, 201: StateSerializer},
    )
    def create(self, request: Request) -> Response:
        """Set a value in a scope of a run; 409 when `version` is not the stored one."""
        self.required_workspace()
        serializer = NewStateSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        run = self._run(given["run"])
        if run is None:
            raise invalid({"run": [_("There is no such run.")]})
        scope_key = keys_of(run).get(given["scope"])
        if scope_key is None:
            raise invalid({"scope": [_("The run has no such scope.")]})
        place = (run.workspace_id, run.runner_id, given["scope"], scope_key)
        row = self._set(
            StateWrite(*place, given["key"], given["value"]), given["version"]
        )
        return Response(
            self.get_serializer(row).data, status=200 if given["version"] else 201
        )

    @extend_schema(request=ChangedStateSerializer, responses=StateSerializer)
    def partial_update(self, request: Request, id: int) -> Response:
        """Replace a value; 409 when `version` is not the stored one."""
        row = self.get_object()
        self.check_if_match(row)
        serializer = ChangedStateSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        place = (row.workspace_id, row.runner_id, row.scope, row.scope_key, row.key)
        changed = self._set(StateWrite(*place, given["value"]), given["version"])
        return Response(self.get_serializer(changed).data)

    def destroy(self, request: Request, id: int) -> Response:
        """Remove a value."""
        row = self.get_object()
        self.check_if_match(row)
        remove_state(row, author_of(request))
        return Response(status=204)

    def _run(self, run_id: UUID) -> AgentRun | None:
        runs = AgentRun.objects.select_related("event", "conversation", "binding")
        return runs.filter(workspace=self.workspace, public_id=run_id).first()

    def _set(self, write: StateWrite, version: int) -> RunnerState:
        try:
            return set_state(write, version, author_of(self.request))
        except StateRefusedError as error:
            raise invalid({"value": [str(error)]}) from None
        except VersionConflictError as error:
            detail = _("The value has another version by now.")
            extra = {"version": error.version}
            raise Problem(409, "version_conflict", detail, extra=extra) from None


__all__ = ["StateViewSet"]
