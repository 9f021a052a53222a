"""The nodes that execute runs: this host's workers and remote runtimes."""

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.db.models import Count, Exists, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext

from langbot.lib import admin as look
from runners.choices import LIVE
from runners.models import AgentRun, RemoteRuntime, WorkerNode

_SHOWN = 20  # runs that a node's page names


class NodeAdmin(look.RecordAdmin):
    """Shows the runs under way on a row whose `public_id` is their node."""

    Media = look.RecordMedia
    change_form_template = "admin/langbot_runners/record.html"

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        node = context.get("original")
        if node is not None:
            context["related_title"] = _("Runs under way here")
            context["related"] = self._under_way(request, node)
        return super().render_change_form(request, context, *args, **kwargs)

    def _under_way(self, request: HttpRequest, node: Any) -> list[AgentRun]:
        """Return the runs that the person may see among those it has."""
        runs = self.admin_site._registry[AgentRun]
        if not runs.has_view_permission(request):
            return []
        rows = runs.get_queryset(request)
        rows = rows.filter(node=node.public_id, status__in=LIVE)
        return list(rows.order_by("-pk")[:_SHOWN])


@admin.register(WorkerNode)
class WorkerNodeAdmin(NodeAdmin):
    list_display = ["name", "state", "started_at", "heartbeat_at", "stopped_at"]
    readonly_fields = ["state"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*self.list_display, "public_id"]

    def get_queryset(self, request: HttpRequest) -> Any:
        alive = WorkerNode.objects.alive().filter(pk=OuterRef("pk"))
        return super().get_queryset(request).annotate(is_alive=Exists(alive))

    @admin.display(description=_("state"))
    def state(self, node: Any) -> str:
        if node.stopped_at is not None:
            return look.badge(pgettext("status", "stopped"))
        if node.is_alive:
            return look.badge(_("alive"), look.GOOD)
        return look.badge(_("dead"), look.BAD)


@admin.register(RemoteRuntime)
class RemoteRuntimeAdmin(NodeAdmin):
    list_display = [
        "runtime_id",
        "display_name",
        "state",
        "held",
        "plugin",
        "workspace",
        "heartbeat_at",
    ]
    search_fields = ["runtime_id", "display_name", "plugin"]
    readonly_fields = ["state", "held"]
    fieldsets = [
        (
            _("Which runtime is it?"),
            {"fields": ["runtime_id", "display_name", "workspace", "plugin", "token"]},
        ),
        (
            _("Is it there?"),
            {
                "fields": [
                    "state",
                    "status",
                    "held",
                    "heartbeat_at",
                    "heartbeat_deadline_at",
                    "created_at",
                ]
            },
        ),
        (
            _("What does it say of itself?"),
            {"fields": ["endpoint", "version", "capabilities", "labels", "metadata"]},
        ),
        (
            _("What is it called in the ledger?"),
            {"classes": ["collapse"], "fields": ["public_id", "connection_id"]},
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> Any:
        held = AgentRun.objects.running().filter(node=OuterRef("public_id"))
        count = held.order_by().values("node").annotate(held=Count("pk")).values("held")
        rows = super().get_queryset(request).select_related("workspace", "token")
        return rows.annotate(held=Coalesce(Subquery(count), 0))

    @admin.display(description=_("runs held"))
    def held(self, runtime: Any) -> int:
        return int(runtime.held)

    @admin.display(description=_("state"), ordering="heartbeat_deadline_at")
    def state(self, runtime: RemoteRuntime) -> str:
        if runtime.heartbeat_deadline_at < datetime.now(UTC):
            return look.badge(_("silent"), look.BAD)
        return look.badge(_("online"), look.GOOD)
