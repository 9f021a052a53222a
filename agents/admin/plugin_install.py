"""Installing, upgrading and going back: pages for whoever may `manage_plugins`."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from agents.models import Plugin
from agents.packages.archive import FILE_BYTES, PackageError
from agents.packages.guard_paths import PathRefusedError
from agents.packages.services import install_package, use_version
from langbot.core.access import visible_rows
from langbot.core.admin import author_of
from langbot.core.models import Workspace
from langbot.lib import admin as look

MANAGE = "langbot_agents.manage_plugins"


class PluginMedia(look.RecordMedia):
    """Assets of the pages of plugins, their tokens and runners."""

    css = {
        "all": [
            *look.RecordMedia.css["all"],
            "langbot_admin/agents.css",
            "langbot_admin/plugins.css",
        ]
    }


class PackageForm(forms.Form):
    """A package file, and for a new plugin the workspace that it serves."""

    package = forms.FileField(
        label=_("package file"),
        help_text=_("As `lbp build` makes it: .lbpkg, at most 50 MB."),
    )
    workspace = forms.ModelChoiceField(
        Workspace.objects.none(),
        label=_("workspace"),
        required=False,
        help_text=_("Empty: it serves every workspace."),
    )

    def __init__(self, request: HttpRequest, plugin: Plugin | None) -> None:
        given = (request.POST, request.FILES) if request.method == "POST" else ()
        super().__init__(*given)
        user: Any = request.user
        if plugin is not None:
            del self.fields["workspace"]  # a plugin stays where it is
        else:
            choice: Any = self.fields["workspace"]
            choice.queryset = visible_rows(user, Workspace.objects.order_by("name"))
            choice.required = not user.is_superuser
        look.dress(self.fields.values())

    def clean_package(self) -> Any:
        file = self.cleaned_data["package"]
        if file.size > FILE_BYTES:
            raise forms.ValidationError(_("The file is over 50 MB."))
        return file


class InstallingAdmin(look.ModelAdmin):
    """Adds a package by its file; adding nothing else makes sense for plugins."""

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Whether the person may put code on this machine and end it."""
        return bool(request.user.has_perm(MANAGE))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_manage_permission(request)

    def get_urls(self) -> Any:
        site, name = self.admin_site, "langbot_agents_plugin"
        upgrade = site.admin_view(self.upgrade_view)
        use = require_POST(site.admin_view(self.use_view))
        return [
            path("<int:pk>/upgrade/", upgrade, name=f"{name}_upgrade"),
            path("<int:pk>/use/<int:version>/", use, name=f"{name}_use"),
            *super().get_urls(),
        ]

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        return self._install(request, None)

    def upgrade_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Take a further version of a plugin."""
        return self._install(request, self._row(request, pk))

    def use_view(self, request: HttpRequest, pk: int, version: int) -> HttpResponse:
        """Run another version that is built."""
        plugin = self._row(request, pk)
        if not self.has_manage_permission(request):
            raise PermissionDenied
        chosen = get_object_or_404(plugin.versions, pk=version)
        if use_version(chosen, author=author_of(request)):
            text, level = _("%(version)s is started now."), messages.SUCCESS
        else:
            text = _("%(version)s runs already, or is not built.")
            level = messages.WARNING
        self.message_user(request, text % {"version": chosen}, level)
        return HttpResponseRedirect(_page(plugin))

    def _row(self, request: HttpRequest, pk: int) -> Plugin:
        row: Plugin = get_object_or_404(self.get_queryset(request), pk=pk)
        return row

    def _install(self, request: HttpRequest, plugin: Plugin | None) -> HttpResponse:
        if not self.has_manage_permission(request):
            raise PermissionDenied
        form = PackageForm(request, plugin)
        if form.is_valid():
            try:
                version = install_package(
                    form.cleaned_data["package"],
                    plugin.workspace if plugin else form.cleaned_data["workspace"],
                    author=author_of(request),
                    plugin=plugin.name if plugin else "",
                )
            except (PackageError, PathRefusedError) as error:
                form.add_error("package", str(error))
            else:
                text = _("%(version)s is being built; this page shows how it goes.")
                self.message_user(request, text % {"version": version})
                return HttpResponseRedirect(_page(version.plugin))
        return self._form_page(request, form, plugin)

    def _form_page(
        self, request: HttpRequest, form: PackageForm, plugin: Plugin | None
    ) -> HttpResponse:
        title: Any = _("Install")
        if plugin is not None:
            title = _("Upgrade %(plugin)s") % {"plugin": plugin}
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "plugin": plugin,
            "back_url": _page(plugin) if plugin else _list(),
        }
        template = "admin/langbot_agents/plugin_install.html"
        return TemplateResponse(request, template, context)


def _page(plugin: Plugin) -> str:
    return reverse("admin:langbot_agents_plugin_change", args=[plugin.pk])


def _list() -> str:
    return reverse("admin:langbot_agents_plugin_changelist")
