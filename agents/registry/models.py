"""Runners that exist, and the plugin processes that carry them."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from agents.choices import ConnectionStatus, RunnerRisk
from langbot.core.models import Workspace
from langbot.lib.ids import uuid7
from langbot.lib.models import NaturalKeyModel, NaturalKeyQuerySet, PublicModel

_NOT_OVER = Q(expires_at=None) | Q(expires_at__gt=Now())


class Plugin(PublicModel):
    """One plugin, whoever runs its processes; rows come with the first connection.

    `archived_at` is set when its package is removed: what names it stays, and a
    connection brings it back. Its icon and readme are what it sent, checked.
    """

    name = models.CharField(_("plugin"), max_length=200, unique=True)
    workspace = models.ForeignKey(
        Workspace,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="plugins",
        verbose_name=_("workspace"),
        help_text=_("Empty: it serves every workspace."),
    )
    version = models.CharField(_("version"), max_length=50, blank=True)
    enabled = models.BooleanField(_("enabled"), default=True)
    icon = models.BinaryField(_("icon"), null=True)
    icon_type = models.CharField(_("type of the icon"), max_length=50, blank=True)
    readme = models.TextField(_("readme"), blank=True)
    last_seen_at = models.DateTimeField(_("last seen"), null=True)
    archived_at = models.DateTimeField(_("archived"), null=True)

    class Meta:
        verbose_name = _("plugin")
        verbose_name_plural = _("plugins")
        ordering = ["name"]
        permissions = [("manage_plugins", "Can install, upgrade and remove plugins")]

    def __str__(self) -> str:
        return self.name


class RunnerDescriptor(NaturalKeyModel):
    """What a plugin said about one of its runners, or why it was refused.

    A runner of the risk class `harness` can execute code: it is never enabled before
    a person has acknowledged that in writing (LB-161), which the database holds too.
    """

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
    plugin_enabled = models.BooleanField(
        _("plugin enabled"),
        default=True,
        editable=False,
        help_text=_("A copy of its plugin's switch: every start of a run reads it."),
    )
    risk = models.CharField(
        _("risk class"),
        max_length=10,
        choices=RunnerRisk.choices,
        default=RunnerRisk.ORDINARY,
    )
    acknowledged_at = models.DateTimeField(
        _("risk acknowledged"), null=True, editable=False
    )
    acknowledged_by = models.CharField(
        _("acknowledged by"), max_length=200, blank=True, editable=False
    )
    last_error = models.TextField(_("last error"), blank=True)
    last_seen_at = models.DateTimeField(_("last seen"), null=True)
    archived_at = models.DateTimeField(_("archived"), null=True, editable=False)
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
            ),
            models.CheckConstraint(
                condition=~Q(risk="harness", enabled=True, acknowledged_at=None),
                name="langbot_runner_harness_off",
            ),
        ]

    def __str__(self) -> str:
        return self.runner_id

    @property
    def is_usable(self) -> bool:
        """Whether it may take new runs; `UNUSABLE` says the same of rows."""
        return self.enabled and self.plugin_enabled and self.archived_at is None


UNUSABLE = Q(enabled=False) | Q(plugin_enabled=False) | Q(archived_at__isnull=False)


class PluginTokenQuerySet(models.QuerySet["PluginToken"]):
    def good(self) -> "PluginTokenQuerySet":
        """Tokens that open a socket now, by the database's clock."""
        return self.filter(_NOT_OVER, revoked_at=None)

    def over(self) -> "PluginTokenQuerySet":
        """Tokens that were revoked, or whose grace after a rotation has ended."""
        return self.exclude(_NOT_OVER, revoked_at=None)


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
    control_plane = models.BooleanField(
        _("control plane"),
        default=False,
        help_text=_(
            "Its plugins may take, end and cancel runs of its workspace, "
            "and act as remote runtimes."
        ),
    )
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)
    expires_at = models.DateTimeField(
        _("expires"),
        null=True,
        editable=False,
        help_text=_("Set when another one takes its place; its sockets close then."),
    )
    revoked_at = models.DateTimeField(_("revoked"), null=True, editable=False)

    objects = PluginTokenQuerySet.as_manager()

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
