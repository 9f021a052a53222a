"""REST for events: the generic way in."""

from typing import Any
from uuid import UUID

from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from langbot.core.guards import GuardedFields
from langbot.core.permissions import RAW_PAYLOAD
from langbot.core.rest import ObjectField, StrictSerializer, validate
from langbot.lib.conf import limits
from langbot.lib.periods import within
from langbot.lib.prepared import is_word
from runners.api.answering import ANSWERS, AnsweringViewSet
from runners.api.intake import event_from
from runners.api.references import BotReference
from runners.choices import EventOutcome, QueuedStatus
from runners.ledger.steering import steering_of
from runners.models import AgentRun, EventLog, QueuedMessage

ATTACHMENTS = 20  # AG-05
_EVENT_TYPE = r"\A[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*\Z"


class ActorSerializer(StrictSerializer):
    id = serializers.CharField(max_length=200)
    name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    type = serializers.CharField(max_length=50, required=False)


class InputSerializer(StrictSerializer):
    text = serializers.CharField(
        max_length=limits().follow_up_characters,
        required=False,
        allow_blank=True,
        trim_whitespace=False,
    )
    contents: Any = serializers.ListField(
        child=serializers.DictField(), required=False, max_length=100
    )
    attachments: Any = serializers.ListField(
        child=serializers.DictField(), required=False, max_length=ATTACHMENTS
    )


class NewEventSerializer(StrictSerializer):
    event_id = serializers.CharField(max_length=200, required=False)
    type = serializers.RegexField(_EVENT_TYPE, max_length=100)
    bot = BotReference(required=False)
    conversation = serializers.CharField(max_length=200, required=False)
    thread = serializers.CharField(max_length=200, required=False, allow_blank=True)
    actor = ActorSerializer(required=False)
    subject = ObjectField(required=False, allow_null=True)
    input = InputSerializer(required=False)
    data: Any = ObjectField(required=False)
    delivery = ObjectField(required=False)
    time = serializers.DateTimeField(required=False)
    metadata = ObjectField(required=False, maximum_bytes=16 * 1024)


class SteeringSerializer(serializers.Serializer[Any]):
    """A message that a run took up while it worked, or was to."""

    status = serializers.ChoiceField(choices=QueuedStatus.choices)
    trigger_behavior = serializers.CharField(allow_null=True)
    claimed_by_run_id = serializers.UUIDField(allow_null=True)
    claimed_runner_id = serializers.CharField(allow_null=True)
    claimed_at = serializers.DateTimeField(allow_null=True)


class EventSerializer(GuardedFields, serializers.ModelSerializer[EventLog]):
    guarded = dict.fromkeys(["data", "delivery", "metadata"], RAW_PAYLOAD)

    id = serializers.UUIDField(source="public_id")
    bot = serializers.UUIDField(source="bot_id", allow_null=True)
    conversation = serializers.UUIDField(
        source="conversation.public_id", allow_null=True, default=None
    )
    runs = serializers.SerializerMethodField()
    steering = serializers.SerializerMethodField()

    class Meta:
        model = EventLog
        fields = [
            "id",
            "event_id",
            "type",
            "time",
            "source",
            "bot",
            "conversation",
            "thread",
            "actor",
            "subject",
            "input",
            "data",
            "delivery",
            "metadata",
            "outcome",
            "outcome_reason",
            "runs",
            "steering",
            "created_at",
        ]

    def get_runs(self, event: EventLog) -> list[str]:
        return [str(run.public_id) for run in event.runs.all()]

    @extend_schema_field(SteeringSerializer(allow_null=True))
    def get_steering(self, event: EventLog) -> dict[str, Any] | None:
        """Return what became of a message that met a run at work (LB-85)."""
        message: QueuedMessage | None = getattr(event, "queued_message", None)
        return steering_of(message) if message is not None else None


class EventFilters(serializers.Serializer[Any]):
    type = serializers.CharField(required=False, max_length=100)
    event_id = serializers.CharField(required=False, max_length=200)
    bot = BotReference(archived=True, required=False)
    conversation = serializers.UUIDField(
        required=False, source="conversation__public_id"
    )
    outcome = serializers.ChoiceField(required=False, choices=EventOutcome.choices)
    created_after = serializers.DateTimeField(required=False, source="created_at__gt")
    created_before = serializers.DateTimeField(required=False, source="created_at__lt")


class EventViewSet(
    mixins.RetrieveModelMixin, mixins.ListModelMixin, AnsweringViewSet[EventLog]
):
    """Events as they were accepted, redacted."""

    queryset = (
        EventLog.objects.select_related("conversation", "queued_message__run")
        .defer("queued_message__run__snapshot", "queued_message__run__metadata")
        .prefetch_related(
            Prefetch(
                "runs", AgentRun.objects.only("public_id", "event_id").order_by("pk")
            )
        )
    )
    serializer_class = EventSerializer
    filter_serializer = EventFilters
    throttle_scope = "messages"

    def filter_rows(
        self, queryset: QuerySet[EventLog], given: dict[str, Any]
    ) -> QuerySet[EventLog]:
        times = given.get("created_at__gt"), given.get("created_at__lt")
        queryset = within(queryset, *times)
        outcome = given.pop("outcome", None)
        words = () if outcome is None else (outcome,)
        return queryset.filter(is_word("outcome", words), **with_bot_id(given))

    @extend_schema(request=NewEventSerializer, **ANSWERS)
    def create(self, request: Request) -> Response:
        """Send an event; the same id from the same sender gives the same run."""
        workspace = self.required_workspace()
        context = self.get_serializer_context()
        content = validate(NewEventSerializer, request.data, context)
        incoming = event_from(request, workspace, content)
        response = self.answer(incoming)
        response.data |= {
            "event_id": incoming.event_id,
            "duplicate": response.data["status"] == "duplicate",
        }
        response.status_code = 202
        return response


def with_bot_id(given: dict[str, Any]) -> dict[str, Any]:
    """Replace the bot's row by the id that the ledger knows it by."""
    bot = given.pop("bot", None)
    if bot is not None:
        bot_id: UUID = bot.public_id
        given["bot_id"] = bot_id
    return given
