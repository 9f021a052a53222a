from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from agents.models import PluginToken
from langbot.core.models import Workspace
from langbot.lib.models import PublicModel


class RemoteRuntime(PublicModel):
    """A worker outside this host, which takes queued runs over a plugin's socket.

    Its `public_id` is the node of the runs it holds. It holds each of them by a lease
    of its own, so its heartbeat only says whether it is there.
    """

    workspace = models.ForeignKey(
        Workspace,
        models.CASCADE,
        null=True,
        related_name="+",
        verbose_name=_("workspace"),
        help_text=_("Empty: it takes runs of every workspace."),
        db_index=False,  # `langbot_runtime_once` begins with it
    )
    token = models.ForeignKey(
        PluginToken,
        models.CASCADE,
        related_name="runtimes",
        verbose_name=_("plugin token"),
    )
    runtime_id = models.CharField(_("runtime"), max_length=200)
    plugin = models.CharField(_("plugin"), max_length=200)
    connection_id = models.UUIDField(_("plugin connection"))
    display_name = models.CharField(_("name"), max_length=200, blank=True)
    endpoint = models.CharField(_("endpoint"), max_length=500, blank=True)
    version = models.CharField(_("version"), max_length=50, blank=True)
    capabilities: Any = models.JSONField(_("capabilities"), default=dict)
    labels: Any = models.JSONField(_("labels"), default=dict)
    metadata: Any = models.JSONField(_("metadata"), default=dict)
    status = models.CharField(_("what it says"), max_length=20, default="online")
    heartbeat_at = models.DateTimeField(_("last heartbeat"))
    heartbeat_deadline_at = models.DateTimeField(_("next heartbeat at the latest"))

    class Meta:
        verbose_name = _("remote runtime")
        verbose_name_plural = _("remote runtimes")
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "runtime_id"], name="langbot_runtime_once"
            ),
            models.UniqueConstraint(
                fields=["runtime_id"],
                condition=Q(workspace=None),
                name="langbot_runtime_once_of_all",
            ),
        ]

    def __str__(self) -> str:
        return self.display_name or self.runtime_id
