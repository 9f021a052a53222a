"""REST for what is said to a run while it works."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from langbot.core.rest import ObjectField, StrictSerializer
from langbot.lib.conf import limits
from runners.api.answering import ANSWERS, AnsweringViewSet
from runners.api.conversations import attachments_of, bot_of
from runners.api.intake import message_from
from runners.api.serializers import FILES
from runners.models import AgentRun


class SteerSerializer(StrictSerializer):
    """A message like any other, without the choice of who answers it."""

    text = serializers.CharField(
        max_length=limits().follow_up_characters, trim_whitespace=False
    )
    files: Any = serializers.ListField(
        child=serializers.UUIDField(), required=False, max_length=FILES
    )
    client_key = serializers.CharField(max_length=100, required=False)
    metadata = ObjectField(required=False, maximum_bytes=16 * 1024)


class SteeringViewSet(AnsweringViewSet[AgentRun]):
    """Messages meant for one run that is under way."""

    queryset = AgentRun.objects.select_related(
        "agent", "conversation", "workspace"
    ).defer("snapshot")

    @extend_schema(request=SteerSerializer, operation_id="steer_run", **ANSWERS)
    @action(detail=True, methods=["post"], throttle_scope="messages")
    def steer(self, request: Request, id: UUID) -> Response:
        """Say something to a run while it works (202).

        Its runner takes it up after a tool call or before it ends; otherwise the next
        turn answers it. 409 `not_steerable` for a run that ended or whose runner takes
        nothing up.
        """
        run = self.get_object()
        serializer = SteerSerializer(
            data=request.data, context=self.get_serializer_context()
        )
        serializer.is_valid(raise_exception=True)
        content, conversation = serializer.validated_data, run.conversation
        if content.get("client_key"):
            content["event_id"] = f"{conversation.public_id}:{content['client_key']}"
        content["attachments"] = attachments_of(
            run.workspace, conversation, content.get("files", [])
        )
        incoming = message_from(
            request,
            run.workspace,
            content,
            agent=run.agent,
            conversation=conversation,
            bot=bot_of(conversation),
        )
        return self.answer(replace(incoming, steers=run, dry_run=run.dry_run))
