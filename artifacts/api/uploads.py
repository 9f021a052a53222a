"""What REST takes as a file, and how much of it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework import serializers

from langbot.core.rest import StrictSerializer
from langbot.lib.conf import limits
from langbot.problems import Problem
from runners.models import Conversation

_ENVELOPE_BYTES = 64 * 1024  # boundaries, headers and the other fields


class LimitedUploadHandler(TemporaryFileUploadHandler):
    """Writes files to disk, all files of a request together up to the limit."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._received = 0

    def handle_raw_input(
        self,
        input_data: Any,
        META: Mapping[str, Any],  # noqa: N803 - Django's name
        content_length: int,
        boundary: Any,
        encoding: str | None = None,
    ) -> None:
        if content_length > limits().upload_bytes + _ENVELOPE_BYTES:
            raise too_large()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._received += len(raw_data)
        if self._received > limits().upload_bytes:
            raise too_large()
        super().receive_data_chunk(raw_data, start)


def too_large() -> Problem:
    """Return what a client reads about a file over the limit."""
    detail = _("A file has at most %(maximum)d bytes.")
    return Problem(413, "too_large", detail % {"maximum": limits().upload_bytes})


class ConversationField(serializers.UUIDField):
    """A conversation of the view's workspace by id."""

    def to_internal_value(self, data: Any) -> Any:
        wanted = super().to_internal_value(data)
        workspace = self.context["view"].workspace
        rows = Conversation.objects.filter(workspace=workspace, public_id=wanted)
        conversation = rows.first()
        if conversation is None:
            raise serializers.ValidationError(_("There is no such conversation."))
        return conversation


class ExpirySerializer(StrictSerializer):
    """When a file ends; null keeps it."""

    expires_at = serializers.DateTimeField(allow_null=True)

    def validate_expires_at(self, value: datetime | None) -> datetime | None:
        if value is not None and value <= timezone.now():
            raise serializers.ValidationError(_("Enter a time in the future."))
        return value


class UploadSerializer(ExpirySerializer):
    """The fields of a multipart form."""

    file = serializers.FileField(allow_empty_file=True, max_length=255)
    name = serializers.CharField(
        max_length=255, required=False, help_text="Instead of the file's own."
    )
    type = serializers.CharField(
        max_length=50, required=False, help_text="`image` or `file` where not given."
    )
    conversation = ConversationField(
        required=False, help_text="Only messages of this one may name the file."
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
