"""How long a workspace keeps what it gathers; `langbot.core.retention` removes it."""

from typing import Any

from django.core.validators import MaxValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

LONGEST_DAYS = 36_500
# LB-98 leaves the defaults open: what only operators look at goes after a season,
# what people said stays until somebody decides.
RUN_DAYS = 90
USAGE_DAYS = 400  # a year and the month in which it is looked at


class WorkspaceRetention(models.Model):
    """The periods of one workspace in days; 0 keeps for good. No row: the defaults.

    What waits or runs is never removed, nor what it needs, however old it is.
    """

    workspace = models.OneToOneField(
        "langbot_core.Workspace",
        models.CASCADE,
        related_name="retention",
        verbose_name=_("workspace"),
    )
    run_days: Any = models.PositiveIntegerField(
        _("runs and events (days)"),
        default=RUN_DAYS,
        validators=[MaxValueValidator(LONGEST_DAYS)],
        help_text=_(
            "Ended runs with their details, the events that began them, deliveries, "
            "decisions and messages that waited. 0 keeps them for good."
        ),
    )
    message_days: Any = models.PositiveIntegerField(
        _("messages (days)"),
        default=0,
        validators=[MaxValueValidator(LONGEST_DAYS)],
        help_text=_(
            "What people and agents said, and conversations that are empty then. "
            "0 keeps them for good."
        ),
    )
    file_days: Any = models.PositiveIntegerField(
        _("files (days)"),
        default=0,
        validators=[MaxValueValidator(LONGEST_DAYS)],
        help_text=_("Files that have no end of their own. 0 keeps them for good."),
    )
    state_days: Any = models.PositiveIntegerField(
        _("runner state and plugin storage (days)"),
        default=0,
        validators=[MaxValueValidator(LONGEST_DAYS)],
        help_text=_("Values that nobody wrote for so long. 0 keeps them for good."),
    )
    usage_days: Any = models.PositiveIntegerField(
        _("usage and cost (days)"),
        default=USAGE_DAYS,
        validators=[MaxValueValidator(LONGEST_DAYS)],
        help_text=_("What model calls used and cost. 0 keeps them for good."),
    )
    audit_days: Any = models.PositiveIntegerField(
        _("audit log (days)"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(LONGEST_DAYS)],
        help_text=_("Empty: what LANGBOT_AUDIT_DAYS says. 0 keeps it for good."),
    )

    class Meta:
        verbose_name = _("retention")
        verbose_name_plural = _("retention")

    def __str__(self) -> str:
        return str(self.workspace)
