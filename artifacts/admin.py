"""Artifacts as people see them; their bytes are not shown here."""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import Model, Q
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from artifacts.models import Artifact
from langbot.lib import admin as look
from langbot.lib.periods import PeriodFilter

_SHA256 = 64  # characters of its hexadecimal form


@admin.register(Artifact)
class ArtifactAdmin(look.RecordAdmin):
    Media = look.RecordMedia
    list_display = ["created_at", "name", "type", "mime_type", "shown_size", "source"]
    list_filter = [PeriodFilter]
    search_fields = ["public_id"]
    search_help_text = _(
        "The whole id of a file, conversation or run, or the SHA-256 of its content."
    )
    readonly_fields = ["shown_size", "digest", "conversation", "run"]
    # Not shown: `reference`, a path or an address with a signature.
    fieldsets = [
        (
            _("What is it?"),
            {"fields": ["name", "type", "mime_type", "shown_size", "digest"]},
        ),
        (
            _("Where does it come from?"),
            {"fields": ["workspace", "source", "conversation", "run"]},
        ),
        (
            _("Where is it kept?"),
            {"fields": ["storage", "created_at", "expires_at", "public_id"]},
        ),
    ]

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        text = search_term.strip()
        return (queryset.filter(_named(text)) if text else queryset), False

    @admin.display(description=_("size"), ordering="size")
    def shown_size(self, artifact: Artifact) -> str:
        return filesizeformat(artifact.size)

    @admin.display(description=_("SHA-256"))
    def digest(self, artifact: Artifact) -> str:
        return format_html('<span class="lb-text">{}</span>', artifact.sha256 or "—")

    @admin.display(description=_("conversation"))
    def conversation(self, artifact: Artifact) -> str:
        return _link("Conversation", artifact.conversation_id_ref)

    @admin.display(description=_("run"))
    def run(self, artifact: Artifact) -> str:
        return _link("AgentRun", artifact.run_id_ref)


def _named(text: str) -> Q:
    """Select artifacts by their own id, their conversation or run, or their content."""
    uuid = look.as_uuid(text)
    if uuid is not None:
        # A run's files through its conversation, which has the index.
        runs = apps.get_model("langbot_runners", "AgentRun")._default_manager
        run = runs.filter(public_id=uuid).values_list("conversation__public_id").first()
        of_run = Q(pk__in=[])
        if run is not None:
            of_run = Q(conversation_id_ref=run[0], run_id_ref=uuid)
        return Q(public_id=uuid) | Q(conversation_id_ref=uuid) | of_run
    return Q(sha256=text.lower()) if len(text) == _SHA256 else Q(pk__in=[])


def _link(name: str, public_id: Any) -> str:
    """Return a link to a row of the ledger, which is a layer above this app."""
    if public_id is None:
        return "—"
    model: type[Model] = apps.get_model("langbot_runners", name)
    rows = model._default_manager.filter(public_id=public_id)
    key = rows.values_list("pk", flat=True).first()
    if key is None:
        return str(public_id)
    there = reverse(f"admin:langbot_runners_{name.lower()}_change", args=[key])
    return format_html('<a class="lb-record" href="{}">{}</a>', there, public_id)
