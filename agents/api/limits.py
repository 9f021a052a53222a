"""REST for staff: what may be spent, what models cost, and which tier people have."""

from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Concat
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from agents.api.references import AgentReference, reference_to
from agents.choices import QuotaScope, Tier, UsageWindow
from agents.models import Agent, Model, ModelPrice, PersonTier, Quota
from agents.resources.tiers import change_tier
from agents.resources.usage import PERSON_LENGTH
from langbot.core.access import author_of
from langbot.core.audit import record_act, state_of
from langbot.core.rest import StrictModelSerializer, StrictSerializer, WorkspaceViewSet
from langbot.core.saving import save_row

_LARGEST: Final = 2**63 - 1
_PATH: Final = Concat("provider__name", Value("/"), "name")


class AmountField(serializers.IntegerField):
    """Microdollars: 1 USD is 1,000,000."""

    def __init__(self, **kwargs: Any) -> None:
        bounds = {"min_value": 0, "max_value": _LARGEST, "required": False}
        super().__init__(**{**bounds, **kwargs})


@extend_schema_field(OpenApiTypes.STR)
class ModelReference(serializers.Field[Model, Any, str, Any]):
    """A model of the workspace by its id or as `provider/name`; shown as the latter."""

    def to_internal_value(self, data: Any) -> Model:
        models = Model.objects.filter(
            provider__workspace=self.context["view"].workspace, archived_at=None
        )
        found = models.annotate(path=_PATH).filter(_named(data)).first()
        if found is None:
            raise serializers.ValidationError(_("There is no such model."))
        return found

    def to_representation(self, value: Model) -> str:
        return f"{value.provider.name}/{value.name}"


class SavedSerializer(StrictModelSerializer[Any]):
    """Saves by the rules of its model, with an entry in the audit log."""

    def create(self, validated_data: dict[str, Any]) -> Any:
        return self.update(self.new_row(), validated_data)

    def new_row(self) -> Any:
        """Return the row that a POST fills."""
        model: Any = self.Meta.model
        return model()

    def update(self, instance: Any, validated_data: dict[str, Any]) -> Any:
        save_row(instance, validated_data, author_of(self.context["request"]))
        return instance


class SavedViewSet(
    mixins.RetrieveModelMixin, mixins.ListModelMixin, WorkspaceViewSet[Any]
):
    """Rows that are listed, made, changed and deleted, each with its audit entry."""

    def create(self, request: Request) -> Response:
        self.required_workspace()
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        with transaction.atomic():
            row = serializer.save()
        return Response(self.get_serializer(row).data, status=201)

    def partial_update(self, request: Request, id: UUID) -> Response:
        return self.change(partial=True)

    def destroy(self, request: Request, id: UUID) -> Response:
        with transaction.atomic():
            row = self.lock_object()
            record_act(author_of(request), "deleted", row, before=state_of(row))
            row.delete()
        return Response(status=204)


class QuotaSerializer(SavedSerializer):
    id = serializers.UUIDField(source="public_id", read_only=True)
    agent = AgentReference(required=False, allow_null=True)
    limit_microdollars = AmountField(
        allow_null=True,
        help_text="0 is unlimited; null, for people only: the base limit of a tier.",
    )

    class Meta:
        model = Quota
        fields = [
            "id",
            "scope",
            "agent",
            "person",
            "tier",
            "window",
            "limit_microdollars",
            "enabled",
            "created_at",
        ]
        read_only_fields = ["created_at"]
        validators: list[Any] = []  # those of the model speak, `save_row` asks them

    def new_row(self) -> Quota:
        return Quota(workspace=self.context["view"].workspace)


class QuotaFilters(serializers.Serializer[Any]):
    scope = serializers.ChoiceField(required=False, choices=QuotaScope.choices)
    window = serializers.ChoiceField(required=False, choices=UsageWindow.choices)
    tier = serializers.ChoiceField(required=False, choices=Tier.choices)
    person = serializers.CharField(required=False, max_length=PERSON_LENGTH)
    agent = serializers.CharField(
        required=False, max_length=100, help_text="An id or a slug."
    )


class QuotaViewSet(SavedViewSet):
    """How much a workspace, an agent or each person may spend in a day or a week."""

    queryset = Quota.objects.select_related("agent")
    serializer_class = QuotaSerializer
    filter_serializer = QuotaFilters

    def filter_rows(
        self, queryset: QuerySet[Any], given: dict[str, Any]
    ) -> QuerySet[Any]:
        if "agent" in given:
            mine = Agent.objects.filter(workspace=self.workspace)
            given["agent__in"] = mine.filter(reference_to(given.pop("agent")))
        return queryset.filter(**given)


class PriceSerializer(SavedSerializer):
    id = serializers.UUIDField(source="public_id", read_only=True)
    model = ModelReference()
    input_microdollars = AmountField(required=True)
    output_microdollars = AmountField()
    cached_microdollars = AmountField(allow_null=True)
    cache_write_microdollars = AmountField(allow_null=True)
    reasoning_microdollars = AmountField(allow_null=True)
    call_microdollars = AmountField()

    class Meta:
        model = ModelPrice
        fields = [
            "id",
            "model",
            "valid_from",
            "input_microdollars",
            "output_microdollars",
            "cached_microdollars",
            "cache_write_microdollars",
            "reasoning_microdollars",
            "call_microdollars",
            "created_at",
        ]
        read_only_fields = ["created_at"]
        validators: list[Any] = []  # as above


class PriceFilters(serializers.Serializer[Any]):
    model = serializers.CharField(
        required=False, max_length=400, help_text="An id, or `provider/name`."
    )


class PriceViewSet(SavedViewSet):
    """What models cost from a time on, in microdollars per million tokens."""

    queryset = ModelPrice.objects.select_related("model__provider")
    serializer_class = PriceSerializer
    filter_serializer = PriceFilters
    workspace_field = "model__provider__workspace"

    def filter_rows(
        self, queryset: QuerySet[Any], given: dict[str, Any]
    ) -> QuerySet[Any]:
        if "model" not in given:
            return queryset
        mine = Model.objects.filter(provider__workspace=self.workspace)
        found = mine.annotate(path=_PATH).filter(_named(given["model"]))
        return queryset.filter(model__in=found)


class PersonTierSerializer(StrictModelSerializer[PersonTier]):
    id = serializers.UUIDField(source="public_id", read_only=True)
    pending_tier = serializers.CharField(
        read_only=True, help_text="The lower tier that waits, or empty."
    )

    class Meta:
        model = PersonTier
        read_only_fields = ["pending_tier", "pending_at", "created_at"]
        fields = ["id", "person", "tier", *read_only_fields]


class NewTierSerializer(StrictSerializer):
    person = serializers.CharField(max_length=PERSON_LENGTH)
    tier = serializers.ChoiceField(choices=Tier.choices)


class TierFilters(serializers.Serializer[Any]):
    person = serializers.CharField(required=False, max_length=PERSON_LENGTH)
    tier = serializers.ChoiceField(required=False, choices=Tier.choices)


class TierViewSet(
    mixins.RetrieveModelMixin, mixins.ListModelMixin, WorkspaceViewSet[PersonTier]
):
    """Which tier each person has; who has none is `free`."""

    queryset = PersonTier.objects.all()
    serializer_class = PersonTierSerializer
    filter_serializer = TierFilters

    @extend_schema(request=NewTierSerializer, responses={200: PersonTierSerializer})
    def create(self, request: Request) -> Response:
        """Give a person a tier: a higher one at once, a lower one from Monday."""
        workspace = self.required_workspace()
        given = NewTierSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        row = change_tier(
            workspace.pk,
            given.validated_data["person"],
            given.validated_data["tier"],
            author=author_of(request),
            is_staff=True,
        )
        return Response(self.get_serializer(row).data)


def _named(given: Any) -> Q:
    """Return the condition for a model's id, or its provider and name."""
    try:
        return Q(public_id=UUID(str(given)))
    except ValueError:
        return Q(path=str(given))
