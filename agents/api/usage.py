"""REST for what model calls used and cost: money for staff, percent for people."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from agents.api.references import reference_to
from agents.choices import Tier
from agents.models import Agent, UsageRecord
from agents.resources.budgets import shares_of
from agents.resources.tiers import TierRefusedError, change_own_tier, tier_of
from agents.resources.usage import PERSON_LENGTH
from agents.resources.usage_reports import (
    GROUPINGS,
    grouped,
    records_between,
    totals_of,
)
from langbot.core.access import actor_of, author_of
from langbot.core.parsing import check_not_blank
from langbot.core.periods import USAGE_DAYS
from langbot.core.permissions import CHANGE_TIER, COST
from langbot.core.rest import StrictSerializer, WorkspaceViewSet
from runners.spending import person_of

_USUAL: Final = timedelta(days=30)
_LONGEST: Final = timedelta(days=USAGE_DAYS)  # as long as records are kept by default


class UsageFilters(serializers.Serializer[Any]):
    """Which records count, and what they are grouped by."""

    group: Any = serializers.ChoiceField(GROUPINGS, default="day", required=False)
    created_after = serializers.DateTimeField(required=False)
    created_before = serializers.DateTimeField(required=False)
    agent = serializers.CharField(
        required=False, max_length=100, help_text="An id or a slug."
    )
    model = serializers.UUIDField(required=False)
    user = serializers.CharField(required=False, max_length=PERSON_LENGTH)
    run = serializers.UUIDField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        until = attrs.setdefault("created_before", datetime.now(UTC))
        since = attrs.setdefault("created_after", _begin_of(until))
        if until - since > _LONGEST:
            message = _("Ask for 400 days at most.")
            raise serializers.ValidationError({"created_after": [message]})
        return attrs


def _begin_of(until: datetime) -> datetime:
    """Return where a period begins that names only its end."""
    earliest = datetime.min.replace(tzinfo=UTC)
    return until - _USUAL if until - earliest > _USUAL else earliest


class TotalsSerializer(serializers.Serializer[Any]):
    """Sums; the cost is null for callers who may not see money."""

    calls = serializers.IntegerField()
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField()
    reasoning_tokens = serializers.IntegerField()
    cost_microdollars = serializers.IntegerField(allow_null=True)
    calls_without_cost = serializers.IntegerField()


class UsageGroupSerializer(TotalsSerializer):
    key = serializers.CharField(allow_null=True)


class UsageSerializer(serializers.Serializer[Any]):
    created_after = serializers.DateTimeField()
    created_before = serializers.DateTimeField()
    group = serializers.ChoiceField(GROUPINGS)
    totals = TotalsSerializer()
    results = UsageGroupSerializer(many=True)


class ShareSerializer(serializers.Serializer[Any]):
    percent = serializers.FloatField(min_value=0, max_value=100)
    resets_at = serializers.DateTimeField()


class OwnUsageSerializer(serializers.Serializer[Any]):
    """No amounts: what a budget is worth is the staff's to know (AG-88)."""

    tier = serializers.ChoiceField(Tier.choices)
    daily = ShareSerializer(allow_null=True)
    weekly = ShareSerializer(allow_null=True)


class OwnTierSerializer(StrictSerializer):
    tier = serializers.ChoiceField(Tier.choices)


class ChangedTierSerializer(OwnTierSerializer):
    """The tier that holds, and the lower one that waits: empty where none does."""

    pending_tier = serializers.CharField()
    pending_at = serializers.DateTimeField(allow_null=True)


class UsageViewSet(WorkspaceViewSet[UsageRecord]):
    """What the workspace's model calls used and cost."""

    queryset = UsageRecord.objects.all()
    serializer_class = UsageSerializer

    @extend_schema(responses=UsageSerializer, parameters=[UsageFilters])
    def totals(self, request: Request) -> Response:
        """Return totals of a period, grouped by day, agent, model or user."""
        check_not_blank(request, UsageFilters().fields)
        filters = UsageFilters(data=request.query_params)
        filters.is_valid(raise_exception=True)
        given = filters.validated_data
        rows = self._rows(given)
        answer = {
            "created_after": given["created_after"],
            "created_before": given["created_before"],
            "group": given["group"],
            "totals": totals_of(rows),
            "results": grouped(rows, given["group"]),
        }
        if not request.user.has_perm(COST):
            for one in (answer["totals"], *answer["results"]):
                one["cost_microdollars"] = None
        return Response(UsageSerializer(answer).data)

    def _rows(self, given: dict[str, Any]) -> Any:
        if self.workspace is None:
            return UsageRecord.objects.none()
        rows = records_between(
            self.workspace.pk, given["created_after"], given["created_before"]
        )
        if "agent" in given:
            mine = Agent.objects.filter(workspace=self.workspace)
            rows = rows.filter(agent__in=mine.filter(reference_to(given["agent"])))
        names = {"model": "model__public_id", "user": "person", "run": "run_id"}
        wanted = {field: given[name] for name, field in names.items() if name in given}
        return rows.filter(**wanted)


class OwnUsageViewSet(WorkspaceViewSet[UsageRecord]):
    """The caller's own budget."""

    queryset = UsageRecord.objects.all()
    serializer_class = OwnUsageSerializer
    rights: Final = {"GET": (), "PATCH": ()}

    @extend_schema(responses=OwnUsageSerializer)
    def retrieve(self, request: Request) -> Response:
        """Return how much of the day and the week is used, and when they reset.

        A window without a limit is null.
        """
        workspace, person = self.required_workspace().pk, own_person(request)
        answer = {
            "tier": tier_of(workspace, person),
            **shares_of(workspace, person),
        }
        return Response(OwnUsageSerializer(answer).data)

    @extend_schema(
        request=OwnTierSerializer,
        responses=ChangedTierSerializer,
        operation_id="change_own_tier",
    )
    def partial_update(self, request: Request) -> Response:
        """Ask for another tier: a lower one holds from Monday, one's own cancels that.

        403 for the top tier, which is staff's to give and to take, and for a higher
        one where the caller may not change tiers.
        """
        workspace, person = self.required_workspace().pk, own_person(request)
        given = OwnTierSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        try:
            row = change_own_tier(
                workspace,
                person,
                given.validated_data["tier"],
                author=author_of(request),
                may_raise=request.user.has_perm(CHANGE_TIER),
            )
        except TierRefusedError as error:
            raise PermissionDenied(str(error)) from None
        return Response(ChangedTierSerializer(row).data)


def own_person(request: Request) -> str:
    """Return what budgets call the caller."""
    return person_of(None, actor_of(request))


TOTALS: Final[dict[str, Any]] = {"get": "totals"}
OWN: Final[dict[str, Any]] = {"get": "retrieve", "patch": "partial_update"}
