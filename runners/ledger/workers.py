from datetime import timedelta

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from langbot.lib.conf import limits
from langbot.lib.ids import uuid7


class WorkerNodeQuerySet(models.QuerySet["WorkerNode"]):
    def alive(self) -> "WorkerNodeQuerySet":
        """Workers that have not stopped and beat in the last 6 s.

        The one predicate of liveness: adoption, health, metrics and pages ask it. By
        the database's clock.
        """
        silent = Now() - timedelta(seconds=limits().node_dead_seconds)
        return self.filter(heartbeat_at__gte=silent, stopped_at=None)


class WorkerNode(models.Model):
    """One incarnation of a worker process; silent for 6 s means dead."""

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=200)
    started_at = models.DateTimeField(_("started"))
    heartbeat_at = models.DateTimeField(_("last heartbeat"), db_index=True)
    stopped_at = models.DateTimeField(_("stopped"), null=True)

    objects = WorkerNodeQuerySet.as_manager()

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.name
