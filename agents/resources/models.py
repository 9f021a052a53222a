"""The language models that agents may use."""

from collections.abc import Iterable
from typing import Any

from django.core.validators import URLValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from agents.choices import ModelKind, ProviderKind
from langbot.core.models import Workspace
from langbot.lib.fields import EncryptedTextField
from langbot.lib.models import NaturalKeyModel, NaturalKeyQuerySet, PublicModel


class Archivable(models.Model):
    """A row that was deleted while something named it: kept, and switched off.

    Switching it on again, by whatever door, brings it back.
    """

    enabled = models.BooleanField(_("enabled"), default=True)
    archived_at = models.DateTimeField(_("archived"), null=True, editable=False)

    class Meta:
        abstract = True

    def save(
        self, *args: Any, update_fields: Iterable[str] | None = None, **kwargs: Any
    ) -> None:
        if self.enabled and self.archived_at is not None:
            self.archived_at = None
            if update_fields is not None:
                update_fields = {*update_fields, "archived_at"}
        super().save(*args, update_fields=update_fields, **kwargs)


# What `save` cannot see: bulk updates.
_ARCHIVED_IS_OFF = Q(archived_at=None) | Q(enabled=False)


class ModelProvider(Archivable, PublicModel, NaturalKeyModel):
    """Where models are called; the key is encrypted at rest and never shown."""

    NATURAL_KEY = ("workspace__slug", "name")

    workspace = models.ForeignKey(
        Workspace,
        models.CASCADE,
        related_name="model_providers",
        verbose_name=_("workspace"),
        db_index=False,  # `langbot_provider_name_once` begins with it
    )
    name = models.CharField(_("name"), max_length=100)
    kind = models.CharField(
        _("kind"),
        max_length=20,
        choices=ProviderKind.choices,
        default=ProviderKind.OPENAI,
    )
    base_url = models.CharField(
        _("base URL"),
        max_length=500,
        blank=True,
        validators=[URLValidator(schemes=["http", "https"])],
    )
    api_key = EncryptedTextField(_("API key"), blank=True, default="")
    timeout_seconds = models.PositiveIntegerField(_("timeout (seconds)"), default=120)

    objects = NaturalKeyQuerySet["ModelProvider"].as_manager()

    class Meta:
        verbose_name = _("model provider")
        verbose_name_plural = _("model providers")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "name"], name="langbot_provider_name_once"
            ),
            models.CheckConstraint(
                condition=_ARCHIVED_IS_OFF, name="langbot_provider_archived_is_off"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Model(Archivable, PublicModel, NaturalKeyModel):
    """One model of a provider."""

    NATURAL_KEY = ("provider__workspace__slug", "provider__name", "name")

    provider = models.ForeignKey(
        ModelProvider,
        models.CASCADE,
        related_name="models",
        verbose_name=_("provider"),
        db_index=False,  # `langbot_model_name_once` begins with it
    )
    name = models.CharField(
        _("name"), max_length=200, help_text=_("As the provider knows it.")
    )
    kind = models.CharField(
        _("kind"), max_length=20, choices=ModelKind.choices, default=ModelKind.LLM
    )
    context_window_tokens = models.PositiveIntegerField(
        _("context window (tokens)"), null=True, blank=True
    )
    extra_args = models.JSONField(_("extra arguments"), default=dict, blank=True)

    objects = NaturalKeyQuerySet["Model"].as_manager()

    class Meta:
        verbose_name = _("model")
        verbose_name_plural = _("models")
        ordering = ["provider__name", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "name"], name="langbot_model_name_once"
            ),
            models.CheckConstraint(
                condition=_ARCHIVED_IS_OFF, name="langbot_model_archived_is_off"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} · {self.name}"
