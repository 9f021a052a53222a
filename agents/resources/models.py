"""The language models that agents may use."""

from django.core.validators import URLValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from agents.choices import ModelKind, ProviderKind
from langbot.core.models import Workspace
from langbot.lib.fields import EncryptedTextField
from langbot.lib.models import NaturalKeyModel, NaturalKeyQuerySet, PublicModel


class ModelProvider(PublicModel, NaturalKeyModel):
    """Where models are called; the key is encrypted at rest and never shown."""

    NATURAL_KEY = ("workspace__slug", "name")

    workspace = models.ForeignKey(
        Workspace,
        models.CASCADE,
        related_name="model_providers",
        verbose_name=_("workspace"),
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
    enabled = models.BooleanField(_("enabled"), default=True)

    objects = NaturalKeyQuerySet["ModelProvider"].as_manager()

    class Meta:
        verbose_name = _("model provider")
        verbose_name_plural = _("model providers")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "name"], name="langbot_provider_name_once"
            )
        ]

    def __str__(self) -> str:
        return self.name


class Model(PublicModel, NaturalKeyModel):
    """One model of a provider."""

    NATURAL_KEY = ("provider__workspace__slug", "provider__name", "name")

    provider = models.ForeignKey(
        ModelProvider,
        models.CASCADE,
        related_name="models",
        verbose_name=_("provider"),
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
    enabled = models.BooleanField(_("enabled"), default=True)

    objects = NaturalKeyQuerySet["Model"].as_manager()

    class Meta:
        verbose_name = _("model")
        verbose_name_plural = _("models")
        ordering = ["provider__name", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "name"], name="langbot_model_name_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.provider} · {self.name}"
