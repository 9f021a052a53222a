"""Artifacts: what is stored, for how long; bytes are not shown here."""

from django.contrib import admin

from artifacts.models import Artifact
from langbot.lib import admin as look


@admin.register(Artifact)
class ArtifactAdmin(look.RecordAdmin):
    Media = look.Media
    list_display = ["created_at", "name", "type", "mime_type", "size", "source"]
    list_filter = ["source", "storage"]
    search_fields = ["public_id", "sha256"]
    exclude = ["reference"]  # a path or an address with a signature
