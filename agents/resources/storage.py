"""Bytes that plugins keep by key: each its own, and those of a whole workspace.

For what is larger than runner state. The limits are in `langbot.lib.conf`.
"""

from dataclasses import dataclass

from django.db import models
from django.db.models import BinaryField, Count, QuerySet, Sum
from django.utils.translation import gettext_lazy as _

from langbot.core.models import Workspace
from langbot.lib.conf import limits

KEY_LENGTH = 255


class PluginStorage(models.Model):
    """One value. Without a plugin, every plugin that the workspace admits shares it."""

    workspace = models.ForeignKey(
        Workspace,
        models.CASCADE,
        related_name="+",
        verbose_name=_("workspace"),
        db_index=False,  # `langbot_storage_once` begins with it
    )
    plugin = models.CharField(_("plugin"), max_length=200, blank=True)
    key = models.CharField(_("key"), max_length=KEY_LENGTH)
    value = BinaryField(_("value"))
    size = models.PositiveIntegerField(_("size (bytes)"))
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("stored value")
        verbose_name_plural = _("plugin storage")
        ordering = ["plugin", "key"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "plugin", "key"], name="langbot_storage_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.plugin or self.workspace}: {self.key}"


class StorageFullError(ValueError):
    """The value does not fit; the message is safe to show."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where values lie: a workspace, and a plugin (`author/name`) or nobody's."""

    workspace_id: int
    plugin: str = ""

    def read(self, key: str) -> bytes | None:
        """Return the value, or None."""
        value = self._rows().filter(key=key).values_list("value", flat=True).first()
        return bytes(value) if value is not None else None

    def keys(self) -> list[str]:
        """Return all keys in order."""
        return list(self._rows().order_by("key").values_list("key", flat=True))

    def write(self, key: str, value: bytes) -> None:
        """Set a value; raises StorageFullError, and then nothing is written.

        Writers that race may exceed what a shelf holds by as much as they bring.
        """
        self._check_room(key, len(value))
        PluginStorage.objects.update_or_create(
            workspace_id=self.workspace_id,
            plugin=self.plugin,
            key=key,
            defaults={"value": value, "size": len(value)},
        )

    def remove(self, key: str) -> bool:
        """Remove a value; False when there was none."""
        return self._rows().filter(key=key).delete()[0] > 0

    def _rows(self) -> QuerySet[PluginStorage]:
        return PluginStorage.objects.filter(
            workspace_id=self.workspace_id, plugin=self.plugin
        )

    def _check_room(self, key: str, size: int) -> None:
        bounds = limits()
        if size > bounds.storage_value_bytes:
            message = f"a stored value has at most {bounds.storage_value_bytes} bytes"
            raise StorageFullError(message)
        others = self._rows().exclude(key=key)
        held = others.aggregate(count=Count("pk"), bytes=Sum("size", default=0))
        if held["count"] >= bounds.storage_keys:
            message = f"this storage holds at most {bounds.storage_keys} keys"
            raise StorageFullError(message)
        if held["bytes"] + size > bounds.storage_bytes:
            message = f"this storage holds at most {bounds.storage_bytes} bytes"
            raise StorageFullError(message)
