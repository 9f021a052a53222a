"""Limits on what model calls may cost, and what was spent and reserved of them."""

from datetime import UTC, datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from agents.choices import QuotaScope, Tier, UsageWindow
from agents.resources.usage import PERSON_LENGTH
from langbot.core.models import Workspace
from langbot.lib.models import PublicModel

# What a person's base limits are multiplied by (AG-87; BUSINESS is our own choice).
MULTIPLIERS: dict[str, int] = {
    Tier.FREE: 1,
    Tier.PRO: 5,
    Tier.BUSINESS: 20,
    Tier.ENTERPRISE: 60,
}
_OF_PEOPLE = (QuotaScope.USER, QuotaScope.TIER)

Place = tuple[str, str, str]  # scope, subject, window


def window_of(window: str, moment: datetime) -> tuple[datetime, datetime]:
    """Return when the day or week (from Monday) around a moment starts and ends, UTC.

    Neither holds in another time zone (AG-84).
    """
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if window == UsageWindow.DAILY:
        return day, day + timedelta(days=1)
    monday = day - timedelta(days=day.weekday())
    return monday, monday + timedelta(days=7)


def id_of(person: str) -> str:
    """Return a person's id alone: that of where they speak tells people nothing."""
    return person.partition(":")[2] or person


class Quota(PublicModel):
    """How much a workspace, an agent or each person may spend in a day or a week.

    For people the narrowest row counts: the person's own, then their tier's, then
    everybody's. Without a limit of its own a row takes the base limit of the settings,
    times the multiplier of the person's tier (AG-86, AG-87). 0 is unlimited (AG-85).
    """

    workspace = models.ForeignKey(
        Workspace,
        models.CASCADE,
        related_name="quotas",
        verbose_name=_("workspace"),
    )
    scope = models.CharField(_("counts"), max_length=10, choices=QuotaScope.choices)
    agent = models.ForeignKey(
        "langbot_agents.Agent",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="quotas",
        verbose_name=_("agent"),
    )
    person = models.CharField(
        _("person"),
        max_length=PERSON_LENGTH,
        blank=True,
        help_text=_(
            "The place and the id of a person, such as api:user:7. Empty: each person."
        ),
    )
    tier = models.CharField(_("tier"), max_length=10, choices=Tier.choices, blank=True)
    window = models.CharField(_("window"), max_length=10, choices=UsageWindow.choices)
    limit_microdollars = models.PositiveBigIntegerField(
        _("limit (microdollars)"),
        null=True,
        blank=True,
        help_text=_(
            "1 USD is 1,000,000; 0 is unlimited. Empty, for people only: the base "
            "limit of the settings times the multiplier of their tier."
        ),
    )
    enabled = models.BooleanField(_("enabled"), default=True)

    class Meta:
        verbose_name = _("quota")
        verbose_name_plural = _("quotas")
        ordering = ["workspace", "scope", "window", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "scope", "person", "tier", "window"],
                condition=Q(agent=None),
                name="langbot_quota_once",
            ),
            models.UniqueConstraint(
                fields=["agent", "window"],
                condition=Q(agent__isnull=False),
                name="langbot_quota_agent_once",
            ),
            models.CheckConstraint(
                condition=Q(scope=QuotaScope.AGENT, agent__isnull=False)
                | (~Q(scope=QuotaScope.AGENT) & Q(agent=None)),
                name="langbot_quota_agent",
            ),
            models.CheckConstraint(
                condition=Q(limit_microdollars__isnull=False) | Q(scope__in=_OF_PEOPLE),
                name="langbot_quota_limit",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_scope_display()} · {self.get_window_display()}"

    def clean(self) -> None:
        """Refuse a row that names somebody its scope does not count."""
        wrong = {}
        if (self.scope == QuotaScope.AGENT) != (self.agent_id is not None):
            wrong["agent"] = _("Name an agent for a quota of one agent, only then.")
        if (self.scope == QuotaScope.TIER) != bool(self.tier):
            wrong["tier"] = _("Name a tier for a quota of a tier, only then.")
        if self.person and self.scope != QuotaScope.USER:
            wrong["person"] = _("Only a quota of people names a person.")
        if self.limit_microdollars is None and self.scope not in _OF_PEOPLE:
            wrong["limit_microdollars"] = _("Enter a limit.")
        if self.agent is not None and self.agent.workspace_id != self.workspace_id:
            wrong["agent"] = _("The agent belongs to another workspace.")
        if wrong:
            raise ValidationError(wrong)


class QuotaWindow(models.Model):
    """What one workspace, agent or person has spent and reserved in one window.

    It does not belong to a quota: a changed limit finds what was spent before.
    """

    workspace = models.ForeignKey(
        Workspace,
        models.CASCADE,
        related_name="+",
        verbose_name=_("workspace"),
        db_index=False,  # `langbot_quota_window_once` begins with it
    )
    scope = models.CharField(_("counts"), max_length=10, choices=QuotaScope.choices)
    subject = models.CharField(_("whose"), max_length=PERSON_LENGTH, blank=True)
    window = models.CharField(_("window"), max_length=10, choices=UsageWindow.choices)
    starts_at = models.DateTimeField(_("starts"))
    ends_at = models.DateTimeField(_("ends"))
    settled_microdollars = models.PositiveBigIntegerField(_("spent"), default=0)
    reserved_microdollars = models.PositiveBigIntegerField(_("reserved"), default=0)
    unknown_calls = models.PositiveIntegerField(_("calls of unknown cost"), default=0)
    extra_days = models.PositiveSmallIntegerField(_("extra days granted"), default=0)

    class Meta:
        verbose_name = _("spent so far")
        verbose_name_plural = _("spent so far")
        ordering = ["-starts_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "scope", "subject", "window", "starts_at"],
                name="langbot_quota_window_once",
            )
        ]
        indexes = [models.Index(fields=["ends_at"], name="langbot_quota_window_ended")]

    def __str__(self) -> str:
        whose = id_of(self.subject) or self.workspace
        return f"{whose} {self.starts_at:%Y-%m-%d}"

    @property
    def place(self) -> Place:
        """What tells it from its workspace's other windows of this time."""
        return self.scope, self.subject, self.window


class PersonTier(PublicModel):
    """Which tier a person has, and the lower one that waits for its time (AG-117)."""

    workspace = models.ForeignKey(
        Workspace,
        models.CASCADE,
        related_name="person_tiers",
        verbose_name=_("workspace"),
        db_index=False,  # `langbot_person_tier_once` begins with it
    )
    person = models.CharField(_("person"), max_length=PERSON_LENGTH)
    tier = models.CharField(
        _("tier"), max_length=10, choices=Tier.choices, default=Tier.FREE
    )
    pending_tier = models.CharField(
        _("next tier"), max_length=10, choices=Tier.choices, blank=True
    )
    pending_at = models.DateTimeField(_("from"), null=True, blank=True)

    class Meta:
        verbose_name = _("tier of a person")
        verbose_name_plural = _("tiers of people")
        ordering = ["person"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "person"], name="langbot_person_tier_once"
            ),
            models.CheckConstraint(
                condition=Q(pending_tier="", pending_at=None)
                | (~Q(pending_tier="") & Q(pending_at__isnull=False)),
                name="langbot_person_tier_pending",
            ),
        ]

    def __str__(self) -> str:
        return f"{id_of(self.person)} · {self.get_tier_display()}"


__all__ = ["MULTIPLIERS", "PersonTier", "Place", "Quota", "QuotaWindow", "window_of"]
