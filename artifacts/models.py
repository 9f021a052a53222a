"""Metadata of stored bytes; the bytes are reached only through `artifacts.store`."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from langbot.core.models import Workspace
from langbot.lib.models import PublicModel


class Artifact(PublicModel):
    """A file of a conversation or a run (LB-92)."""

    class Source(models.TextChoices):
        PLATFORM = "platform", _("platform")
        RUNNER = "runner", _("runner")
        TOOL = "tool", _("tool")
        SYSTEM = "system", _("system")

    class Storage(models.TextChoices):
        BLOB = "blob", _("stored here")
        URL = "url", _("address elsewhere")
        PLATFORM_REF = "platform_ref", _("held by the platform")
        METADATA_ONLY = "metadata_only", _("metadata only")

    workspace = models.ForeignKey(
        Workspace,
        models.CASCADE,
        related_name="artifacts",
        verbose_name=_("workspace"),
        db_index=False,  # `langbot_artifact_place` begins with it
    )
    type = models.CharField(_("type"), max_length=50)
    mime_type = models.CharField(_("MIME type"), max_length=150, blank=True)
    name = models.CharField(_("name"), max_length=255, blank=True)
    size = models.PositiveBigIntegerField(_("size (bytes)"), default=0)
    sha256 = models.CharField(_("SHA-256"), max_length=64, blank=True)
    source = models.CharField(_("source"), max_length=10, choices=Source.choices)
    storage = models.CharField(_("storage"), max_length=15, choices=Storage.choices)
    reference = models.CharField(_("reference"), max_length=1000, blank=True)
    conversation_id_ref = models.UUIDField(_("conversation"), null=True, blank=True)
    run_id_ref = models.UUIDField(_("run"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)

    class Meta:
        verbose_name = _("artifact")
        verbose_name_plural = _("artifacts")
        ordering = ["-pk"]
        indexes = [
            # what REST lists
            models.Index(fields=["workspace", "-id"], name="langbot_artifact_place"),
            # files of a conversation, newest first
            models.Index(
                fields=["conversation_id_ref", "-id"], name="langbot_artifact_chat"
            ),
            # the expiry sweep
            models.Index(
                fields=["expires_at"],
                condition=Q(expires_at__isnull=False),
                name="langbot_artifact_expiry",
            ),
        ]

    def __str__(self) -> str:
        return self.name or str(self.public_id)
