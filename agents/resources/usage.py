"""What model calls used, what they cost, and the prices that say so.

Money is whole microdollars: 1 USD is 1,000,000 (AG-82).
"""

from datetime import UTC, datetime
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from agents.choices import CallOutcome, CostSource, ModelKind
from agents.resources.models import Model
from langbot.core.models import Workspace
from langbot.lib.models import (
    AppendOnlyModel,
    AppendOnlyQuerySet,
    NaturalKeyModel,
    NaturalKeyQuerySet,
    PublicModel,
)

PERSON_LENGTH = 300  # the place and the id of a person there
_HAS_COST = Q(cost_source=CostSource.MISSING, cost_microdollars=None) | (
    ~Q(cost_source=CostSource.MISSING) & Q(cost_microdollars__gte=0)
)


def now() -> datetime:
    """Return the time from which a new price holds."""
    return datetime.now(UTC)


class ModelPrice(PublicModel, NaturalKeyModel):
    """What a model costs from a time on, in microdollars per million tokens.

    Cached and reasoning tokens cost what input and output do where they have no price
    of their own. A new price is a new row, so that old calls keep theirs.
    """

    NATURAL_KEY = (
        "model__provider__workspace__slug",
        "model__provider__name",
        "model__name",
        "valid_from",
    )

    model = models.ForeignKey(
        Model,
        models.CASCADE,
        related_name="prices",
        verbose_name=_("model"),
        db_index=False,  # `langbot_price_once` begins with it
    )
    valid_from = models.DateTimeField(_("valid from"), default=now)
    input_microdollars = models.PositiveBigIntegerField(_("input"))
    output_microdollars = models.PositiveBigIntegerField(_("output"), default=0)
    cached_microdollars = models.PositiveBigIntegerField(
        _("cached input"), null=True, blank=True
    )
    cache_write_microdollars = models.PositiveBigIntegerField(
        _("writing the cache"), null=True, blank=True
    )
    reasoning_microdollars = models.PositiveBigIntegerField(
        _("reasoning"), null=True, blank=True
    )
    call_microdollars = models.PositiveBigIntegerField(
        _("each call"),
        default=0,
        help_text=_("Microdollars for one call, such as a search of a rerank model."),
    )

    objects = NaturalKeyQuerySet["ModelPrice"].as_manager()

    class Meta:
        verbose_name = _("price")
        verbose_name_plural = _("prices")
        ordering = ["model", "-valid_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["model", "valid_from"], name="langbot_price_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.model} · {self.valid_from:%Y-%m-%d %H:%M}"


class _Call(models.Model):
    """What is known of a model call when it begins."""

    workspace = models.ForeignKey(
        Workspace,
        models.PROTECT,
        related_name="+",
        verbose_name=_("workspace"),
        db_index=False,
    )
    agent = models.ForeignKey(
        "langbot_agents.Agent",
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("agent"),
        db_index=False,
    )
    person = models.CharField(_("person"), max_length=PERSON_LENGTH, blank=True)
    run_id = models.UUIDField(_("run"), null=True)
    invocation = models.PositiveSmallIntegerField(default=1)
    call = models.BigIntegerField(_("request number"), default=0)
    kind = models.CharField(
        _("kind"), max_length=20, choices=ModelKind.choices, default=ModelKind.LLM
    )
    model = models.ForeignKey(
        Model,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("model"),
        db_index=False,
    )
    model_name = models.CharField(_("model name"), max_length=200)
    provider_name = models.CharField(_("provider"), max_length=100)
    price = models.ForeignKey(
        ModelPrice,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("price"),
        db_index=False,
    )

    class Meta:
        abstract = True


class OpenModelCall(_Call):
    """A model call under way, and what it holds of the quotas.

    Whoever deletes the row settles the call: its worker, or the sweep when that died.
    """

    token = models.BigIntegerField(_("fencing token"), default=0)
    is_free = models.BooleanField(default=False)
    reserved_microdollars = models.PositiveBigIntegerField(_("reserved"), default=0)
    # Keys of the windows that hold the reserve, and the limit of each at that time.
    windows: Any = models.JSONField(default=dict)
    started_at = models.DateTimeField(_("started"))
    expires_at = models.DateTimeField(_("expires"), db_index=True)

    class Meta:
        verbose_name = _("model call under way")
        verbose_name_plural = _("model calls under way")

    def __str__(self) -> str:
        return f"{self.model_name} {self.started_at:%H:%M:%S}"


class UsageRecord(PublicModel, AppendOnlyModel, _Call):
    """One model call that took place: its tokens as reported, and its cost.

    Tokens that the provider did not tell are null, or `estimated` by us. A cost that
    nobody knows is null with source `missing`, never zero.
    """

    outcome = models.CharField(
        _("outcome"),
        max_length=10,
        choices=CallOutcome.choices,
        default=CallOutcome.COMPLETED,
    )
    prompt_tokens = models.PositiveBigIntegerField(_("input tokens"), null=True)
    completion_tokens = models.PositiveBigIntegerField(_("output tokens"), null=True)
    cached_tokens = models.PositiveBigIntegerField(_("cached tokens"), null=True)
    cache_write_tokens = models.PositiveBigIntegerField(
        _("tokens written to the cache"), null=True
    )
    reasoning_tokens = models.PositiveBigIntegerField(_("reasoning tokens"), null=True)
    estimated = models.BooleanField(_("tokens estimated"), default=False)
    cost_microdollars = models.BigIntegerField(_("cost (microdollars)"), null=True)
    cost_source = models.CharField(
        _("cost from"), max_length=10, choices=CostSource.choices
    )

    objects = AppendOnlyQuerySet["UsageRecord"].as_manager()

    class Meta:
        verbose_name = _("model call")
        verbose_name_plural = _("model calls")
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=_HAS_COST, name="langbot_usage_cost")
        ]
        indexes = [
            models.Index(fields=["workspace", "-id"], name="langbot_usage_workspace"),
            # totals of a period, and what a new window of a quota begins with
            models.Index(
                fields=["workspace", "created_at"], name="langbot_usage_period"
            ),
            models.Index(fields=["agent", "created_at"], name="langbot_usage_agent"),
            models.Index(
                fields=["workspace", "person", "created_at"],
                name="langbot_usage_person",
            ),
            models.Index(fields=["run_id"], name="langbot_usage_run"),
            # calls whose cost nobody knows
            models.Index(
                fields=["workspace", "id"],
                condition=Q(cost_source=CostSource.MISSING),
                name="langbot_usage_missing",
            ),
        ]

    def __str__(self) -> str:
        return str(self.public_id)

    @property
    def cost_missing(self) -> bool:
        """Whether nobody knows what the call cost."""
        return self.cost_source == CostSource.MISSING


__all__ = ["PERSON_LENGTH", "ModelPrice", "OpenModelCall", "UsageRecord"]
