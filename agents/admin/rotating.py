"""Giving a plugin token a successor, which is shown once."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _

from agents.admin.plugin_install import PluginMedia
from agents.models import PackageProcess, PluginToken
from agents.registry.tokens import ROTATION_GRACE, rotate_plugin_token
from langbot.core.admin import TokenAdmin, author_of
from langbot.lib import admin as look

_DAY = int(ROTATION_GRACE.total_seconds())
GRACES = [
    (0, _("It ends at once; its sockets close")),
    (3600, _("It stays good for an hour")),
    (_DAY, _("It stays good for a day")),
    (7 * 86400, _("It stays good for a week")),
]


class RotationForm(forms.Form):
    """How long the old token stays good."""

    grace = forms.TypedChoiceField(
        label=_("the token until now"), choices=GRACES, coerce=int, initial=_DAY
    )

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        look.dress(self.fields.values())


class RotatingAdmin(TokenAdmin):
    """Tokens that can be rotated, from their page."""

    Media = PluginMedia

    change_form_template = "admin/langbot_agents/plugintoken.html"

    def get_urls(self) -> Any:
        view = self.admin_site.admin_view(self.rotate_view)
        name = "langbot_agents_plugintoken_rotate"
        return [path("<int:pk>/rotate/", view, name=name), *super().get_urls()]

    def rotate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for the grace, then make the successor and show it once."""
        token = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_change_permission(request, token):
            raise PermissionDenied
        packages = PackageProcess.objects.filter(token=token)
        plugin_id = packages.values_list("plugin", flat=True).first()
        if plugin_id is not None:
            text = _("A package has this token: rotate it on the page of its plugin.")
            self.message_user(request, text, messages.WARNING)
            page = "admin:langbot_agents_plugin_change"
            return HttpResponseRedirect(reverse(page, args=[plugin_id]))
        form = RotationForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            return self._rotate(request, token, form.cleaned_data["grace"])
        context = {"form": form, "token": token, "title": _("Rotate the token")}
        return self._answer(request, "plugintoken_rotate.html", context)

    def _rotate(
        self, request: HttpRequest, token: PluginToken, seconds: int
    ) -> HttpResponse:
        try:
            new, plain = rotate_plugin_token(
                token, timedelta(seconds=seconds), author=author_of(request)
            )
        except ValueError:
            text = _("A token that is over cannot be rotated.")
            self.message_user(request, text, messages.ERROR)
            here = reverse("admin:langbot_agents_plugintoken_change", args=[token.pk])
            return HttpResponseRedirect(here)
        setattr(new, "plain_token", plain)  # noqa: B010 - of this answer, not a field
        return self.response_add(request, new)

    def _answer(
        self, request: HttpRequest, template: str, context: dict[str, Any]
    ) -> HttpResponse:
        shared = self.admin_site.each_context(request)
        given = {**shared, "opts": self.opts, "media": self.media, **context}
        return TemplateResponse(request, f"admin/langbot_agents/{template}", given)


__all__ = ["RotatingAdmin"]
