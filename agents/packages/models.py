"""Plugins that this host runs itself: their versions, and the process of each.

A row says what is wanted; `manage.py runpackages` brings the machine to it and writes
down what it sees. No other process starts or ends anything.
"""

from django.db import models
from django.utils.translation import gettext_lazy as _

from agents.choices import BuildStatus, ProcessStatus
from agents.packages.wording import in_words
from agents.registry.models import Plugin, PluginToken
from langbot.lib.fields import EncryptedTextField
from langbot.lib.models import PublicModel


class PackageVersion(PublicModel):
    """One uploaded package file: waiting → building → ready | failed → removed.

    Its file and its folder bear its public id, so that two uploads of one version
    never share anything.
    """

    plugin = models.ForeignKey(
        Plugin, models.CASCADE, related_name="versions", verbose_name=_("plugin")
    )
    version = models.CharField(_("version"), max_length=50)
    sha256 = models.CharField(_("SHA-256"), max_length=64)
    size = models.PositiveBigIntegerField(_("size (bytes)"))
    status = models.CharField(
        _("status"),
        max_length=10,
        choices=BuildStatus.choices,
        default=BuildStatus.WAITING,
    )
    build_log = models.TextField(_("log of the build"), blank=True)
    error = models.TextField(_("error"), blank=True)
    author = models.CharField(_("uploaded by"), max_length=200, blank=True)
    ended_at = models.DateTimeField(_("build ended"), null=True)

    class Meta:
        verbose_name = _("package version")
        verbose_name_plural = _("package versions")
        ordering = ["-pk"]
        indexes = [
            # the supervisor asks twice a second for the oldest one that waits
            models.Index(fields=["status"], name="langbot_package_status")
        ]

    def __str__(self) -> str:
        return f"{self.plugin} {self.version}"

    @property
    def error_in_words(self) -> str:
        """Why it was not built, in the reader's language."""
        return in_words(self.error)


class PackageProcess(models.Model):
    """The wanted process of a packaged plugin, and what became of it."""

    plugin = models.OneToOneField(
        Plugin, models.CASCADE, related_name="package", verbose_name=_("plugin")
    )
    current = models.ForeignKey(
        PackageVersion,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("version"),
        help_text=_("The version that runs; empty before the first one is built."),
    )
    is_wanted = models.BooleanField(_("is to run"), default=True)
    restart = models.PositiveIntegerField(default=0, editable=False)
    is_removing = models.BooleanField(_("is being removed"), default=False)
    token = models.ForeignKey(
        PluginToken,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("plugin token"),
    )
    secret = EncryptedTextField(_("plain text of the token"), blank=True)
    status = models.CharField(
        _("process"),
        max_length=10,
        choices=ProcessStatus.choices,
        default=ProcessStatus.STOPPED,
    )
    reason = models.CharField(_("reason"), max_length=200, blank=True)
    failures = models.PositiveIntegerField(_("ended by itself"), default=0)
    started_at = models.DateTimeField(_("started"), null=True)
    log_tail = models.TextField(_("end of its log"), blank=True)

    class Meta:
        verbose_name = _("package")
        verbose_name_plural = _("packages")

    def __str__(self) -> str:
        return str(self.plugin)

    @property
    def reason_in_words(self) -> str:
        """Why it does what it does, in the reader's language."""
        return in_words(self.reason)
