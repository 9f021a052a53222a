"""Plugins: how they do, what they may, and those that this host runs itself."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils.translation import gettext_lazy as _

from agents.admin.plugin_health import Health, badge_of, healths
from agents.admin.plugin_install import InstallingAdmin, PluginMedia
from agents.admin.plugin_words import capabilities_of, permissions_of
from agents.choices import BuildStatus
from agents.models import PackageProcess, Plugin
from agents.packages import services
from agents.registry.switches import switch_plugin
from langbot.core.admin import AuditedAdmin, author_of
from langbot.lib.markdown import markdown_html
from runners.admin.acts import Acts

VERSIONS = 20  # shown of one plugin
# Lets a drawing neither run nor fetch anything, wherever it is opened.
_ICON_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


@admin.register(Plugin)
class PluginAdmin(Acts, InstallingAdmin, AuditedAdmin):
    Media = PluginMedia
    shares_rows = True  # those that ship serve every workspace
    list_display = [
        "name",
        "version",
        "state",
        "processes",
        "runs",
        "last_seen_at",
        "error",
    ]
    list_filter = ["enabled", "workspace"]
    search_fields = ["name"]
    actions = [
        *("enable", "disable", "restart", "start", "stop", "renew_token", "remove")
    ]
    buttons = {
        "enable": _("Switch on"),
        "disable": _("Switch off"),
        "start": _("Start its process"),
        "stop": _("Stop its process"),
        "restart": _("Restart its process"),
        "renew_token": _("Give it another token"),
        "remove": _("Remove this package"),
    }
    dangerous = frozenset({"remove"})
    change_form_template = "admin/langbot_agents/plugin.html"
    fields = ("name", "version", "workspace", "enabled", "last_seen_at")
    readonly_fields = fields

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> Any:
        """Change nothing: what a person can do here are acts."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a package is removed by its act; what names a plugin stays

    def complete(self, rows: Any, user: Any) -> None:
        """Add how each plugin of a page does."""
        found = healths(user, rows)
        for row in rows:
            row.health = found[row.pk]

    @admin.display(description=_("state"))
    def state(self, plugin: Any) -> Any:
        return badge_of(plugin, _health(plugin))

    @admin.display(description=_("processes online"))
    def processes(self, plugin: Any) -> int:
        return _health(plugin).processes

    @admin.display(description=_("runs (up to 1000)"))
    def runs(self, plugin: Any) -> str:
        return _health(plugin).shown_runs

    @admin.display(description=_("last error"))
    def error(self, plugin: Any) -> str:
        return _health(plugin).error[:200] or "—"

    def offers(self, row: Plugin) -> Any:
        yield "disable" if row.enabled else "enable"
        package = _package_of(row)
        if package is not None and not package.is_removing:
            yield from ("restart", "stop") if package.is_wanted else ("start",)
            yield from ("renew_token", "remove")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        plugin = self.get_object(request, object_id)
        context = self._page(request, plugin) if plugin is not None else {}
        hidden = {"show_save": False, "show_save_and_continue": False}
        hidden["show_save_and_add_another"] = False
        given = {**(extra_context or {}), **hidden, **context}
        return super().change_view(request, object_id, form_url, given)

    def _page(self, request: HttpRequest, plugin: Plugin) -> dict[str, Any]:
        health = healths(request.user, [plugin])[plugin.pk]
        return {
            "offers": self.offered(request, plugin),
            "health": health,
            "health_badge": badge_of(plugin, health),
            "runners": [
                {
                    "row": runner,
                    "able": capabilities_of(runner),
                    "asks": permissions_of(runner),
                }
                for runner in health.runners
            ],
            "package": _package_of(plugin),
            "versions": plugin.versions.all()[:VERSIONS],
            "ready": BuildStatus.READY,
            "may_manage": self.has_manage_permission(request),
            "readme": markdown_html(plugin.readme) if plugin.readme else "",
        }

    # Acts

    @admin.action(description=_("Switch on"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Plugin]) -> None:
        self._act(request, queryset, switch_plugin, on=True)

    @admin.action(description=_("Switch off"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Plugin]) -> None:
        self._act(request, queryset, switch_plugin, on=False)

    @admin.action(description=_("Restart processes"), permissions=["manage"])
    def restart(self, request: HttpRequest, queryset: QuerySet[Plugin]) -> None:
        self._act(request, queryset, services.restart_process)

    @admin.action(description=_("Start processes"), permissions=["manage"])
    def start(self, request: HttpRequest, queryset: QuerySet[Plugin]) -> None:
        self._act(request, queryset, services.want_process, wanted=True)

    @admin.action(description=_("Stop processes"), permissions=["manage"])
    def stop(self, request: HttpRequest, queryset: QuerySet[Plugin]) -> None:
        self._act(request, queryset, services.want_process, wanted=False)

    @admin.action(description=_("Give packages another token"), permissions=["manage"])
    def renew_token(self, request: HttpRequest, queryset: QuerySet[Plugin]) -> None:
        self._act(request, queryset, services.renew_token)

    @admin.action(description=_("Remove packages"), permissions=["manage"])
    def remove(self, request: HttpRequest, queryset: QuerySet[Plugin]) -> None:
        self._act(request, queryset, services.remove_package)

    def _act(
        self,
        request: HttpRequest,
        rows: QuerySet[Plugin],
        service: Callable[..., bool],
        **wanted: bool,
    ) -> None:
        """Have a service act on each of the rows, in the person's name."""
        named = partial(service, author=author_of(request), **wanted)
        self.carry_out(request, rows, named)

    # Its icon

    def get_urls(self) -> Any:
        icon = self.admin_site.admin_view(self.icon_view)
        name = "langbot_agents_plugin_icon"
        return [path("<int:pk>/icon/", icon, name=name), *super().get_urls()]

    def icon_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Answer the icon that the plugin sent, as what it was found to be."""
        plugin = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_view_permission(request, plugin) or plugin.icon is None:
            raise Http404
        headers = {
            "Content-Security-Policy": _ICON_POLICY,
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, max-age=300",
        }
        return HttpResponse(
            bytes(plugin.icon), content_type=plugin.icon_type, headers=headers
        )


def _package_of(plugin: Plugin) -> PackageProcess | None:
    rows = PackageProcess.objects.select_related("current").defer("secret")
    return rows.filter(plugin=plugin).first()


def _health(plugin: Any) -> Health:
    found: Health = plugin.health
    return found
