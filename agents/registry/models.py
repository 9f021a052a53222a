"""Runners that exist, and the plugin processes that carry them."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from agents.choices import ConnectionStatus
from langbot.core.models import Workspace
from langbot.lib.ids import uuid7
from langbot.lib.models import NaturalKeyModel, NaturalKeyQuerySet, PublicModel


class RunnerDescriptor(NaturalKeyModel):
    """What a plugin said about one of its runners, or why it was refused."""

    NATURAL_KEY = ("runner_id",)

    runner_id = models.CharField(_("runner"), max_length=300, unique=True)
    workspace = models.ForeignKey(
        Workspace,
        models.CASCADE,
        null=True,
        related_name="runners",
        verbose_name=_("workspace"),
        help_text=_("Empty: it serves every workspace."),
    )
    label = models.JSONField(_("label"), default=dict)
    description = models.JSONField(_("description"), default=dict)
    plugin = models.CharField(_("plugin"), max_length=200)
    version = models.CharField(_("version"), max_length=50, blank=True)
    kind = models.CharField(_("kind"), max_length=20)
    usages = models.JSONField(_("usages"), default=list)
    event_patterns = models.JSONField(_("event patterns"), default=list)
    capabilities = models.JSONField(_("capabilities"), default=dict)
    permissions = models.JSONField(_("permissions"), default=dict)
    config_schema = models.JSONField(_("configuration schema"), default=list)
    manifest = models.JSONField(_("manifest"), default=dict)
    enabled = models.BooleanField(_("enabled"), default=True)
    last_error = models.TextField(_("last error"), blank=True)
    last_seen_at = models.DateTimeField(_("last seen"), null=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    objects = NaturalKeyQuerySet["RunnerDescriptor"].as_manager()

    class Meta:
        verbose_name = _("runner")
        verbose_name_plural = _("runners")
        ordering = ["runner_id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(runner_id__regex=r"^plugin:[^/:]+/[^/]+/[^/]+$"),
                name="langbot_runner_id_format",
            )
        ]

    def __str__(self) -> str:
        return self.runner_id


class PluginToken(PublicModel):
    """Lets plugin processes connect, for one workspace or (staff only) for all."""

    workspace = models.ForeignKey(
        Workspace,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="plugin_tokens",
        verbose_name=_("workspace"),
        help_text=_("Empty: its runners serve every workspace."),
    )
    label = models.CharField(_("label"), max_length=100)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    prefix = models.CharField(_("begins with"), max_length=16, editable=False)
    plugins = models.JSONField(
        _("plugins"),
        default=list,
        blank=True,
        help_text=_(
            "Names (author/name) it may register; * admits any, "
            "an empty list admits the first that registers."
        ),
    )
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked"), null=True, editable=False)

    class Meta:
        verbose_name = _("plugin token")
        verbose_name_plural = _("plugin tokens")
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.label} ({self.prefix}…)"


class PluginConnection(models.Model):
    """One socket of one plugin process, for as long as the ledger keeps it."""

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    token = models.ForeignKey(
        PluginToken,
        models.CASCADE,
        related_name="connections",
        verbose_name=_("plugin token"),
    )
    workspace = models.ForeignKey(
        Workspace, models.CASCADE, null=True, verbose_name=_("workspace")
    )
    plugin = models.CharField(_("plugin"), max_length=200, db_index=True)
    version = models.CharField(_("version"), max_length=50, blank=True)
    runners = models.JSONField(_("runners"), default=list)
    web_node = models.CharField(_("web node"), max_length=40)
    remote = models.CharField(_("address"), max_length=100, blank=True)
    status = models.CharField(
        _("status"), max_length=10, choices=ConnectionStatus.choices
    )
    reason = models.TextField(_("reason"), blank=True)
    connected_at = models.DateTimeField(_("connected"), auto_now_add=True)
    disconnected_at = models.DateTimeField(_("disconnected"), null=True)

    class Meta:
        verbose_name = _("plugin connection")
        verbose_name_plural = _("plugin connections")
        ordering = ["-pk"]
        indexes = [
            # the web node's own rows, closed when it goes
            models.Index(fields=["web_node"], name="langbot_connection_node")
        ]

    def __str__(self) -> str:
        return f"{self.plugin} {self.public_id}"
