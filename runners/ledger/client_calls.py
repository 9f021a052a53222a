from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from langbot.lib.models import PublicModel
from runners.choices import ClientCallStatus
from runners.ledger.runs import AgentRun


class ClientCall(PublicModel):
    """A tool call that a client of the run executes; its own journal (LO-23).

    waiting → answered | expired, by compare-and-set: exactly one answer wins. A worker
    that takes the run over finds the row by the call and waits on. Goes with its run.
    """

    run = models.ForeignKey(
        AgentRun,
        models.CASCADE,
        related_name="client_calls",
        verbose_name=_("run"),
        db_index=False,  # `langbot_client_call_once` begins with it
    )
    invocation = models.PositiveSmallIntegerField(_("invocation"))
    plugin_seq_id = models.BigIntegerField(_("request number"))
    tool_name = models.CharField(_("tool"), max_length=100)
    parameters: Any = models.JSONField(_("parameters"), default=dict)
    status = models.CharField(
        _("status"),
        max_length=10,
        choices=ClientCallStatus.choices,
        default=ClientCallStatus.WAITING,
    )
    # {"result": object} or {"error": text}
    answer: Any = models.JSONField(_("answer"), null=True)
    answered_by = models.CharField(_("answered by"), max_length=200, blank=True)
    answered_at = models.DateTimeField(_("answered at"), null=True)
    expires_at = models.DateTimeField(_("expires"))

    class Meta:
        verbose_name = _("tool call of a client")
        verbose_name_plural = _("tool calls of clients")
        constraints = [
            models.UniqueConstraint(
                fields=["run", "invocation", "plugin_seq_id"],
                name="langbot_client_call_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.tool_name} {self.get_status_display()}"
