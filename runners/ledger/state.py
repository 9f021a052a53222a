from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from langbot.core.models import Workspace


class RunnerState(models.Model):
    """A value that a runner keeps, addressed by a hashed scope (LB-96, LB-97)."""

    workspace = models.ForeignKey(
        Workspace, models.CASCADE, related_name="+", verbose_name=_("workspace")
    )
    runner_id = models.CharField(_("runner"), max_length=300)
    scope = models.CharField(_("scope"), max_length=15)
    scope_key = models.CharField(_("scope key"), max_length=100)
    key = models.CharField(_("key"), max_length=200)
    value: Any = models.JSONField(_("value"), null=True)
    version = models.PositiveIntegerField(_("version"), default=1)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("runner state")
        verbose_name_plural = _("runner state")
        constraints = [
            models.UniqueConstraint(
                fields=["scope_key", "key"], name="langbot_state_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.scope} {self.key}"
