from django.db import models
from django.utils.translation import gettext_lazy as _

from runners.ledger.runs import AgentRun


class HostCallRefusal(models.Model):
    """How often calls for a run were refused; one row for each action and reason.

    Counted in memory where the call was refused and added here now and then, at the
    run's end at the latest (`runners.host_api.refusals`). Goes with its run.
    """

    run = models.ForeignKey(
        AgentRun,
        models.CASCADE,
        related_name="refusals",
        verbose_name=_("run"),
        db_index=False,  # `langbot_refusal_once` begins with it
    )
    action = models.CharField(_("action"), max_length=50)
    code = models.CharField(_("reason"), max_length=50)
    count = models.PositiveBigIntegerField(_("times"))
    plugin = models.CharField(
        _("last called by"),
        max_length=200,
        blank=True,
        help_text=_("Empty for a plugin of another workspace."),
    )
    first_at = models.DateTimeField(_("first time"))
    last_at = models.DateTimeField(_("last time"))

    class Meta:
        verbose_name = _("refused host call")
        verbose_name_plural = _("refused host calls")
        constraints = [
            models.UniqueConstraint(
                fields=["run", "action", "code"], name="langbot_refusal_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.code}"
