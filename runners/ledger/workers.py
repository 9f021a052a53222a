from django.db import models
from django.utils.translation import gettext_lazy as _

from langbot.lib.ids import uuid7


class WorkerNode(models.Model):
    """One incarnation of a worker process; silent for 6 s means dead."""

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=200)
    started_at = models.DateTimeField(_("started"))
    heartbeat_at = models.DateTimeField(_("last heartbeat"), db_index=True)
    stopped_at = models.DateTimeField(_("stopped"), null=True)

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.name
