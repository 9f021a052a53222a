"""Runners that can execute code: switched on by written words only (LB-161)."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _

from agents.admin.plugin_install import MANAGE, PluginMedia
from agents.admin.plugin_words import capabilities_of, permissions_of
from agents.choices import RunnerRisk
from agents.models import RunnerDescriptor
from agents.registry.harness import acknowledge_risk, phrase_for, set_risk
from langbot.core.admin import AuditedAdmin, author_of
from langbot.lib import admin as look


class AcknowledgeForm(forms.Form):
    """The words that a person types."""

    typed = forms.CharField(label=_("Type the words above"), max_length=500)

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        self.fields["typed"].widget.attrs["autocomplete"] = "off"
        look.dress(self.fields.values())


class RiskAdmin(AuditedAdmin):
    """Shows the risk class, and the page where a harness is acknowledged."""

    Media = PluginMedia
    change_form_template = "admin/langbot_agents/runner.html"

    def get_urls(self) -> Any:
        name = "langbot_agents_runnerdescriptor_risk"
        view = self.admin_site.admin_view(self.risk_view)
        return [path("<int:pk>/risk/", view, name=name), *super().get_urls()]

    def risk_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Acknowledge a harness, or change the class (`?risk=`) by POST."""
        runner = get_object_or_404(self.get_queryset(request), pk=pk)
        may = request.user.has_perm(MANAGE)
        if not may or not self.has_change_permission(request, runner):
            raise PermissionDenied
        if request.POST.get("risk") in RunnerRisk.values:
            return self._set_risk(request, runner, request.POST["risk"])
        form = AcknowledgeForm(request.POST if request.method == "POST" else None)
        if form.is_valid() and self._acknowledge(request, runner, form):
            return self._back(runner)
        return self._page(request, runner, form)

    def _acknowledge(
        self, request: HttpRequest, runner: RunnerDescriptor, form: AcknowledgeForm
    ) -> bool:
        words = form.cleaned_data["typed"]
        try:
            acknowledge_risk(runner, words, author=author_of(request))
        except ValidationError as error:
            form.add_error("typed", error)
            return False
        return True

    def _set_risk(
        self, request: HttpRequest, runner: RunnerDescriptor, risk: str
    ) -> HttpResponse:
        try:
            set_risk(runner, risk, author=author_of(request))
        except ValidationError as error:
            self.message_user(request, " ".join(error.messages), messages.ERROR)
        return self._back(runner)

    def _page(
        self, request: HttpRequest, runner: RunnerDescriptor, form: AcknowledgeForm
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("Risk class of %(runner)s") % {"runner": runner},
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "runner": runner,
            "phrase": phrase_for(runner),
            "is_harness": runner.risk == RunnerRisk.HARNESS,
            "able": capabilities_of(runner),
            "asks": permissions_of(runner),
        }
        template = "admin/langbot_agents/runner_risk.html"
        return TemplateResponse(request, template, context)

    def _back(self, runner: RunnerDescriptor) -> HttpResponse:
        page = "admin:langbot_agents_runnerdescriptor_change"
        return HttpResponseRedirect(reverse(page, args=[runner.pk]))
