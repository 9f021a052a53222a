"""What conversations, messages, runs and deliveries look like to clients."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents.api.references import AgentReference
from langbot.core.access import author_of
from langbot.core.guards import GuardedFields
from langbot.core.permissions import COST, VIEW_ACTIONS
from langbot.core.rest import ObjectField, StrictModelSerializer, StrictSerializer
from langbot.lib.conf import limits
from langbot.lib.redaction import redact
from runners.api.references import BotReference
from runners.models import (
    AgentRun,
    Conversation,
    Delivery,
    QueuedMessage,
    RunEvent,
    TranscriptItem,
)
from runners.notes import annotate_run
from runners.open_requests import open_requests
from runners.titles import rename_conversation

FILES = 20  # AG-05


class ConversationSerializer(StrictModelSerializer[Conversation]):
    id = serializers.UUIDField(source="public_id", read_only=True)
    key = serializers.CharField(source="external_id", read_only=True)
    bot = serializers.UUIDField(source="bot_id", allow_null=True, read_only=True)
    title = serializers.CharField(
        max_length=200,
        allow_blank=True,
        required=False,
        help_text="The first words, until somebody names it.",
    )
    running = serializers.UUIDField(
        read_only=True, allow_null=True, default=None, help_text="The run under way."
    )
    last_sequence = serializers.IntegerField(
        source="transcript_seq", read_only=True, help_text="Of its last message."
    )

    class Meta:
        model = Conversation
        read_only_fields = [
            "id",
            "key",
            "kind",
            "bot",
            "thread",
            "actor_id",
            "running",
            "last_sequence",
            "created_at",
            "updated_at",
        ]
        fields = [*read_only_fields[:3], "title", *read_only_fields[3:]]

    def update(
        self, instance: Conversation, validated_data: dict[str, Any]
    ) -> Conversation:
        title = validated_data.get("title", instance.title)
        rename_conversation(instance, title, author_of(self.context["request"]))
        return instance


class NewConversationSerializer(StrictSerializer):
    key = serializers.CharField(max_length=200, required=False)
    title = serializers.CharField(max_length=200, required=False, allow_blank=True)
    bot = BotReference(required=False)


class PageSerializer(serializers.Serializer[Any]):
    """What the person looked at; more than this is left out, never an error (AG-05)."""

    url = serializers.CharField(max_length=2000, required=False)
    content = serializers.CharField(
        max_length=32_000, required=False, trim_whitespace=False
    )


class SteerSerializer(StrictSerializer):
    """A message like any other, without the choice of who answers it."""

    text = serializers.CharField(
        max_length=limits().follow_up_characters, trim_whitespace=False
    )
    files: Any = serializers.ListField(
        child=serializers.UUIDField(), required=False, max_length=FILES
    )
    client_key = serializers.CharField(max_length=100, required=False)
    page = PageSerializer(
        required=False, help_text="What the person looks at; agents are told."
    )
    metadata = ObjectField(required=False, maximum_bytes=16 * 1024)


class NewMessageSerializer(SteerSerializer):
    """A message, and who is to answer it."""

    text = serializers.CharField(
        max_length=limits().follow_up_characters,
        trim_whitespace=False,
        required=False,
        help_text="Required, unless the reply to `parent` is to be made anew.",
    )
    agent = AgentReference(required=False)
    parent: Any = serializers.UUIDField(
        required=False,
        help_text=(
            "A message of the conversation: what came after it is replaced. Without a "
            "text it, or the message that it replies to, is answered again."
        ),
    )
    dry_run = serializers.BooleanField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "text" in attrs:
            return attrs
        if "parent" not in attrs:
            message = self.fields["text"].error_messages["required"]
            raise serializers.ValidationError({"text": [message]}, code="required")
        return attrs


class MessageSerializer(serializers.ModelSerializer[TranscriptItem]):
    id = serializers.UUIDField(source="public_id")
    type = serializers.CharField(source="item_type")
    artifacts = serializers.JSONField(source="artifact_refs")
    run = serializers.UUIDField(source="run.public_id", allow_null=True, default=None)
    event = serializers.UUIDField(
        source="event.public_id", allow_null=True, default=None
    )
    actor = serializers.SerializerMethodField()

    class Meta:
        model = TranscriptItem
        fields = [
            "id",
            "seq",
            "role",
            "type",
            "text",
            "content",
            "artifacts",
            "run",
            "event",
            "actor",
            "metadata",
            "created_at",
        ]

    @extend_schema_field(serializers.DictField(allow_null=True))
    def get_actor(self, item: TranscriptItem) -> dict[str, str] | None:
        if not item.actor_id:
            return None
        return {"id": item.actor_id, "name": item.actor_name}


class PendingSerializer(serializers.ModelSerializer[QueuedMessage]):
    message_id = serializers.UUIDField(source="public_id")
    conversation = serializers.UUIDField(source="conversation.public_id")
    agent = serializers.UUIDField(source="agent.public_id")
    run_id = serializers.UUIDField(
        source="run.public_id", allow_null=True, default=None
    )
    text = serializers.SerializerMethodField()
    input = serializers.JSONField(source="event.input")
    metadata = serializers.JSONField(source="event.metadata")

    class Meta:
        model = QueuedMessage
        fields = [
            "message_id",
            "status",
            "mode",
            "reason",
            "conversation",
            "agent",
            "run_id",
            "text",
            "input",
            "metadata",
            "dry_run",
            "created_at",
            "ended_at",
        ]

    def get_text(self, message: QueuedMessage) -> str:
        return str(message.event.input.get("text") or "")


class RunSerializer(GuardedFields, StrictModelSerializer[AgentRun]):
    guarded = {"cost_microdollars": COST, "pending_actions": VIEW_ACTIONS}

    id = serializers.UUIDField(source="public_id", read_only=True)
    agent = serializers.UUIDField(source="agent.public_id", read_only=True)
    agent_slug = serializers.SlugField(source="agent.slug", read_only=True)
    runner = serializers.CharField(source="runner_id", read_only=True)
    conversation = serializers.UUIDField(
        source="conversation.public_id", read_only=True
    )
    event = serializers.UUIDField(source="event.public_id", read_only=True)
    bot = serializers.UUIDField(source="bot_id", read_only=True, allow_null=True)
    parent: Any = serializers.UUIDField(
        source="parent.public_id", read_only=True, allow_null=True, default=None
    )
    labels: Any = serializers.ListField(
        child=serializers.CharField(max_length=100), max_length=50, required=False
    )
    notes = serializers.CharField(max_length=20_000, allow_blank=True, required=False)

    duration_ms = serializers.IntegerField(
        read_only=True,
        allow_null=True,
        help_text="From its start to its end, waiting for people included.",
    )
    pending_actions = serializers.SerializerMethodField(
        help_text="The data of its open `action.requested` events; null in lists."
    )

    class Meta:
        model = AgentRun
        read_only_fields = [
            "id",
            "status",
            "status_reason",
            "error_code",
            "retryable",
            "agent",
            "agent_slug",
            "agent_version",
            "runner",
            "conversation",
            "event",
            "bot",
            "parent",
            "depth",
            "attempt",
            "origin",
            "dry_run",
            "last_seq",
            "usage",
            "cost_microdollars",
            "metadata",
            "created_at",
            "queued_at",
            "started_at",
            "first_output_at",
            "last_active_at",
            "finished_at",
            "duration_ms",
            "deadline_at",
            "cancel_requested_at",
        ]
        fields = [*read_only_fields, "labels", "notes", "pending_actions"]

    @extend_schema_field(
        serializers.ListField(child=serializers.DictField(), allow_null=True)
    )
    def get_pending_actions(self, run: AgentRun) -> list[dict[str, Any]] | None:
        shows_one = getattr(self.context.get("view"), "detail", False)
        return open_requests(run.pk) if shows_one else None

    def update(self, instance: AgentRun, validated_data: dict[str, Any]) -> AgentRun:
        annotate_run(
            instance,
            author_of(self.context["request"]),
            labels=validated_data.get("labels", instance.labels),
            notes=validated_data.get("notes", instance.notes),
        )
        return instance


class RunEventSerializer(serializers.ModelSerializer[RunEvent]):
    run_id = serializers.UUIDField(source="run.public_id")
    created_at = serializers.SerializerMethodField()

    class Meta:
        model = RunEvent
        fields = ["run_id", "seq", "type", "data", "created_at"]

    @extend_schema_field(OpenApiTypes.DATETIME)
    def get_created_at(self, event: RunEvent) -> str:
        return event.created_at.isoformat()  # as the stream has it


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    id = serializers.UUIDField(source="public_id")
    run = serializers.UUIDField(source="run.public_id", allow_null=True, default=None)
    conversation = serializers.UUIDField(source="conversation.public_id")
    bot = serializers.UUIDField(source="bot_id")
    payload = serializers.SerializerMethodField()

    class Meta:
        model = Delivery
        fields = [
            "id",
            "run",
            "conversation",
            "bot",
            "target",
            "payload",
            "idempotency_key",
            "status",
            "attempts",
            "attempt_log",
            "next_attempt_at",
            "last_error",
            "platform_message_id",
            "delivered_at",
            "created_at",
        ]

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_payload(self, delivery: Delivery) -> Any:
        return redact(delivery.payload)
