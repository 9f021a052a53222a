"""REST for deliveries: replies on their way out."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from langbot.core.access import author_of
from langbot.core.audit import record_act
from langbot.core.rest import WorkspaceViewSet
from langbot.lib.prepared import is_word
from langbot.problems import Problem
from platforms.outbox import cancel_delivery, retry_delivery
from runners.api.references import BotReference
from runners.api.serializers import DeliverySerializer
from runners.choices import DeliveryStatus
from runners.models import Delivery


class DeliveryFilters(serializers.Serializer[Any]):
    status = serializers.MultipleChoiceField(
        required=False, choices=DeliveryStatus.choices
    )
    bot = BotReference(archived=True, required=False)
    run = serializers.UUIDField(required=False, source="run__public_id")
    conversation = serializers.UUIDField(
        required=False, source="conversation__public_id"
    )


class DeliveryViewSet(
    mixins.RetrieveModelMixin, mixins.ListModelMixin, WorkspaceViewSet[Delivery]
):
    """Replies on their way out, with every attempt."""

    queryset = Delivery.objects.select_related("run", "conversation").defer(
        "run__snapshot"
    )
    serializer_class = DeliverySerializer
    filter_serializer = DeliveryFilters

    def filter_rows(
        self, queryset: QuerySet[Delivery], given: dict[str, Any]
    ) -> QuerySet[Delivery]:
        bot = given.pop("bot", None)
        queryset = queryset.filter(is_word("status", given.pop("status", ())))
        if bot is not None:
            given["bot_id"] = bot.public_id
        return queryset.filter(**given)

    @extend_schema(
        request=None, responses={202: DeliverySerializer}, operation_id="retry_delivery"
    )
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, id: UUID) -> Response:
        """Send one that failed again, under the same key; 409 for any other."""
        detail = _("Only what failed or is uncertain is sent again.")
        self._act(retry_delivery, "retried", "not_retryable", detail)
        return Response(self.get_serializer(self.get_object()).data, status=202)

    @extend_schema(
        request=None,
        responses={200: DeliverySerializer},
        operation_id="cancel_delivery",
    )
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, id: UUID) -> Response:
        """Give up one that nobody is sending; 409 when it is too late."""
        detail = _("It is being sent, or has ended.")
        self._act(cancel_delivery, "cancelled", "not_cancellable", detail)
        return Response(self.get_serializer(self.get_object()).data)

    def _act(
        self, service: Callable[[Delivery], bool], name: str, code: str, detail: str
    ) -> None:
        delivery = self.get_object()
        with transaction.atomic():
            if not service(delivery):
                raise Problem(409, code, detail)
            record_act(author_of(self.request), name, delivery)
