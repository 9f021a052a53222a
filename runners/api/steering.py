"""REST for what is said to a run while it works."""

from dataclasses import replace
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from runners.api.answering import ANSWERS, AnsweringViewSet
from runners.api.conversations import said_in
from runners.api.serializers import SteerSerializer
from runners.models import AgentRun


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
        content, place = serializer.validated_data, run.conversation
        incoming = said_in(run.workspace, place, request, content, run.agent)
        return self.answer(replace(incoming, steers=run, dry_run=run.dry_run))
