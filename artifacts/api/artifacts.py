"""REST for files: upload, list, read, keep for longer, remove."""

import json
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from artifacts import uploads
from artifacts.api.content import UnsatisfiableRange, content_response
from artifacts.api.uploads import (
    ExpirySerializer,
    LimitedUploadHandler,
    UploadSerializer,
)
from artifacts.models import Artifact
from artifacts.store import change_expiry, remove_artifact, still_exists
from langbot.core.access import author_of
from langbot.core.rest import WorkspaceViewSet
from langbot.problems import Problem


class ArtifactSerializer(serializers.ModelSerializer[Artifact]):
    id = serializers.UUIDField(source="public_id")
    conversation = serializers.UUIDField(source="conversation_id_ref", allow_null=True)
    run = serializers.UUIDField(source="run_id_ref", allow_null=True)
    metadata = serializers.DictField()

    class Meta:
        model = Artifact
        # Not `reference`: a path, or an address with a signature (LB-92).
        fields = [
            "id",
            "type",
            "name",
            "mime_type",
            "size",
            "sha256",
            "source",
            "storage",
            "conversation",
            "run",
            "metadata",
            "created_at",
            "expires_at",
        ]


class ArtifactFilters(serializers.Serializer[Any]):
    conversation = serializers.UUIDField(required=False, source="conversation_id_ref")
    run = serializers.UUIDField(required=False, source="run_id_ref")
    type = serializers.CharField(required=False, max_length=50)
    source: Any = serializers.ChoiceField(
        required=False, choices=Artifact.Source.choices
    )
    sha256 = serializers.CharField(required=False, max_length=64)


class ArtifactViewSet(
    mixins.RetrieveModelMixin, mixins.ListModelMixin, WorkspaceViewSet[Artifact]
):
    """Files of conversations and runs. Expired ones do not exist."""

    queryset = Artifact.objects.all()
    serializer_class = ArtifactSerializer
    filter_serializer = ArtifactFilters

    def get_queryset(self) -> QuerySet[Artifact]:
        return super().get_queryset().filter(still_exists())

    def initialize_request(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> Request:
        # Before anything reads the form, the check of a session's token included.
        request.upload_handlers = [LimitedUploadHandler(request)]
        return super().initialize_request(request, *args, **kwargs)

    def get_parsers(self) -> list[BaseParser]:
        if self.request is not None and self.request.method == "POST":
            return [MultiPartParser()]
        return super().get_parsers()

    def receive(self, request: Request) -> bytes:
        """Store an upload; a repeat under its key has the same bytes and fields."""
        if self.action != "create":  # another POST has no such address: 405
            return super().receive(request)
        self.required_workspace()
        if not request.META.get("CONTENT_LENGTH"):
            detail = _("Say how long the body is (Content-Length).")
            raise Problem(411, "length_required", detail)
        serializer = UploadSerializer(
            data=request.data, context=self.get_serializer_context()
        )
        serializer.is_valid(raise_exception=True)
        self._given = serializer.validated_data
        file = self._given.pop("file")
        self._given.setdefault("name", file.name)
        self._arrived = uploads.receive(file.chunks(), file.content_type or "")
        return json.dumps([self._arrived.sha256, self._given], default=str).encode()

    @extend_schema(
        request={"multipart/form-data": UploadSerializer},
        responses={201: ArtifactSerializer},
    )
    def create(self, request: Request) -> Response:
        """Keep a file. A message names it among its `files`."""
        workspace = self.required_workspace()
        artifact = uploads.keep(
            workspace, self._arrived, author=author_of(request), **self._given
        )
        return Response(self.get_serializer(artifact).data, status=201)

    @extend_schema(request=ExpirySerializer, responses=ArtifactSerializer)
    def partial_update(self, request: Request, id: UUID) -> Response:
        """Change when the file ends."""
        with transaction.atomic():
            row = self.lock_object()
            serializer = ExpirySerializer(data=request.data)
            serializer.is_valid(raise_exception=True)
            expires_at = serializer.validated_data["expires_at"]
            change_expiry(row, expires_at, author=author_of(request))
        return Response(self.get_serializer(row).data)

    def destroy(self, request: Request, id: UUID) -> Response:
        """Remove the file; messages that name it keep its name."""
        row = self.get_object()
        self.check_if_match(row)
        remove_artifact(row, author=author_of(request))
        return Response(status=204)

    @extend_schema(
        operation_id="artifact_content",
        parameters=[
            OpenApiParameter("Range", str, OpenApiParameter.HEADER, description="One.")
        ],
        responses={
            (200, "*/*"): OpenApiTypes.BINARY,
            (206, "*/*"): OpenApiTypes.BINARY,
        },
    )
    @action(detail=True)
    def content(self, request: Request, id: UUID) -> HttpResponseBase:
        """The bytes, or a `Range` of them."""
        return content_response(request._request, self.get_object())

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        if isinstance(exc, UnsatisfiableRange):
            response["Content-Range"] = f"bytes */{exc.size}"
        return response
