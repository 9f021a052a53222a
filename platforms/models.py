"""Bots: the places where people and systems talk to agents."""

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from langbot.core.models import Workspace
from langbot.lib.fields import EncryptedJSONField
from langbot.lib.models import NaturalKeyModel, NaturalKeyQuerySet, PublicModel


class Bot(PublicModel, NaturalKeyModel):
    """One account on one platform; its secrets are encrypted and never shown."""

    NATURAL_KEY = ("slug",)

    workspace = models.ForeignKey(
        Workspace, models.PROTECT, related_name="bots", verbose_name=_("workspace")
    )
    slug = models.SlugField(_("slug"), unique=True)
    name = models.CharField(_("name"), max_length=200)
    adapter = models.CharField(_("platform"), max_length=50)
    config = models.JSONField(_("configuration"), default=dict, blank=True)
    secrets: Any = EncryptedJSONField(_("secrets"), default=dict, blank=True)
    enabled = models.BooleanField(_("enabled"), default=True)
    archived_at = models.DateTimeField(_("archived"), null=True, editable=False)
    last_error = models.TextField(_("last error"), blank=True, editable=False)
    last_event_at = models.DateTimeField(_("last event"), null=True, editable=False)

    objects = NaturalKeyQuerySet["Bot"].as_manager()

    class Meta:
        verbose_name = _("bot")
        verbose_name_plural = _("bots")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
