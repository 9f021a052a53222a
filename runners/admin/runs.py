"""Runs: a list that stays fast, and a page that shows what happened."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.loader import render_to_string
from django.urls import path
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from langbot.core.access import author_of
from langbot.core.audit import record_act
from langbot.lib import admin as look
from langbot.lib.forms import LinesField
from langbot.lib.periods import PeriodFilter
from runners.admin.acts import Acts
from runners.admin.display import (
    RUN_TONES,
    TimedList,
    document,
    labels_of,
    page_of,
    run_badge,
    seconds_between,
)
from runners.admin.exports import Column, Exports
from runners.admin.filters import AgentFilter, BotFilter, LabelFilter, StatusFilter
from runners.admin.run_page import (
    context_of,
    facts_of,
    fieldsets_of,
    read_position,
)
from runners.admin.search import IdSearch, runs_named
from runners.admin.timeline import timeline_of
from runners.choices import RunStatus
from runners.models import AgentRun, PendingAction
from runners.notes import annotate_run
from runners.retries import retry_run
from runners.services import request_cancel
from runners.wakes import wake_runs

# Columns that the list does not show, and that may hold megabytes.
_LARGE = (
    "snapshot",
    "metadata",
    "notes",
    "agent__runner_config",
    "event__input",
    "event__data",
    "event__delivery",
    "event__metadata",
    "event__raw_ref",
)
_COLUMNS = (
    Column("id", lambda run: str(run.public_id)),
    Column("status", lambda run: run.status),
    Column("error_code", lambda run: run.error_code),
    Column("reason", lambda run: run.status_reason),
    Column("agent", lambda run: run.agent.slug),
    Column("agent_version", lambda run: run.agent_version),
    Column("runner", lambda run: run.runner_id),
    Column("bot", lambda run: str(run.bot_id or "")),
    Column("conversation", lambda run: str(run.conversation.public_id)),
    Column("event", lambda run: str(run.event.public_id)),
    Column("event_id", lambda run: run.event.event_id),
    Column("input", lambda run: run.event.input_summary),
    Column("attempt", lambda run: run.attempt),
    Column("created_at", lambda run: run.created_at),
    Column("started_at", lambda run: run.started_at),
    Column("finished_at", lambda run: run.finished_at),
    Column("labels", lambda run: run.labels),
    Column("usage", lambda run: run.usage),
    Column(
        "cost_microdollars",
        lambda run: run.cost_microdollars,
        permission="langbot_runners.view_cost",
    ),
)


class RunTable(TimedList):
    """What the list of runs shows."""

    @admin.display(description=_("status"), ordering="status")
    def state(self, run: AgentRun) -> str:
        return run_badge(run)

    @admin.display(description=_("input"))
    def said(self, run: AgentRun) -> str:
        return run.event.input_summary[:80] or run.event.type

    @admin.display(description=_("took"))
    def took(self, run: AgentRun) -> str:
        return seconds_between(run.started_at, run.finished_at)

    @admin.display(description=_("problem"))
    def problem(self, run: AgentRun) -> str:
        return run.error_code or run.status_reason

    @admin.display(description=_("labels"))
    def shown_labels(self, run: AgentRun) -> str:
        return labels_of(run)


class NotesForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in stubs only
    """What people write on a run; the limits are those of REST."""

    labels = LinesField(
        label=_("Labels"), required=False, help_text=_("One per line, to find it by.")
    )
    notes = forms.CharField(
        label=_("Notes"),
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 3}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        look.dress(self.fields.values())

    def clean_labels(self) -> list[str]:
        labels = list(dict.fromkeys(self.cleaned_data["labels"]))
        if len(labels) > 50 or any(len(label) > 100 for label in labels):  # noqa: PLR2004  in the message
            message = _("At most 50 labels of at most 100 characters.")
            raise forms.ValidationError(message)
        return labels


@admin.register(AgentRun)
class AgentRunAdmin(Acts, Exports, IdSearch, look.RecordAdmin, RunTable):
    class Media(look.RecordMedia):
        js = [*look.Media.js, "langbot_admin/run.js"]

    form = NotesForm
    list_display = ["at", "state", "agent", "said", "took", "problem", "shown_labels"]
    list_filter = [StatusFilter, AgentFilter, BotFilter, PeriodFilter, LabelFilter]
    list_select_related = ["agent", "event"]
    list_filter_submit = True
    search_fields = ["public_id"]
    search_help_text = _(
        "The whole id of a run, event, conversation or delivery, or an error code."
    )
    actions = ["run_now", "cancel", "retry", "export_csv", "export_json"]
    buttons = {
        "run_now": _("Run now"),
        "cancel": _("Cancel this run"),
        "retry": _("Try again"),
    }
    dangerous = frozenset({"cancel"})
    export_columns = _COLUMNS
    export_related = ("agent", "event", "conversation")
    change_form_template = "admin/langbot_runners/run.html"

    def matches(self, text: str) -> Q:
        return runs_named(text)

    def get_queryset(self, request: HttpRequest) -> Any:
        runs = super().get_queryset(request)
        match = request.resolver_match
        if match is not None and match.url_name == f"{_NAME}_change":
            related = ("agent", "event", "conversation", "binding", "parent")
            asked = PendingAction.objects.filter(run=OuterRef("pk"))
            page = runs.select_related(*related).defer("parent__snapshot")
            return page.annotate(has_asked=Exists(asked))
        return runs.select_related("agent", "event").defer(*_LARGE)

    # What people write on a run.

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Past the mixin that closes records: only labels and notes can be written.
        return bool(super(look.RecordMixin, self).has_change_permission(request, obj))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return fieldsets_of(request)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names = [
            name for _title, part in fieldsets_of(request) for name in part["fields"]
        ]
        return [name for name in names if name not in {"labels", "notes"}]

    def save_model(
        self, request: HttpRequest, obj: Any, form: Any, change: Any
    ) -> None:
        given = form.cleaned_data
        stored = AgentRun.objects.only("labels", "notes", "workspace_id").get(pk=obj.pk)
        annotate_run(
            stored, author_of(request), labels=given["labels"], notes=given["notes"]
        )

    @admin.display(description=_("snapshot"))
    def frozen(self, run: AgentRun) -> str:
        return document(run.snapshot)

    @admin.display(description=_("metadata"))
    def all_metadata(self, run: AgentRun) -> str:
        return document(run.metadata)

    # The page.

    def get_urls(self) -> Any:
        view = self.admin_site.admin_view(self.timeline_view)
        by_id = self.admin_site.admin_view(self.by_id_view)
        own = [
            path("<int:pk>/timeline/", view, name=f"{_NAME}_timeline"),
            path("by-id/<uuid:public_id>/", by_id, name=f"{_NAME}_by_id"),
        ]
        return [*own, *super().get_urls()]

    def by_id_view(self, request: HttpRequest, public_id: UUID) -> HttpResponse:
        """Lead from the id that everybody knows a run by to its page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        run = get_object_or_404(self.get_queryset(request), public_id=public_id)
        return redirect(page_of(run))

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        run: AgentRun | None = context.get("original")
        if run is not None:
            context |= context_of(request, run)
            context["offers"] = self.offered(request, run)
        return super().render_change_form(request, context, *args, **kwargs)

    def timeline_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Answer what happened since `after` and `call`, as rows of the table."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        run = get_object_or_404(self.get_queryset(request), pk=pk)
        timeline = timeline_of(run, *read_position(request))
        rows = render_to_string(
            "admin/langbot_runners/rows.html", {"timeline": timeline}, request
        )
        summary = render_to_string(
            "admin/langbot_runners/summary.html",
            facts_of(request, run),
            request,
        )
        return JsonResponse(
            {
                "rows": rows,
                "summary": summary,
                "after": timeline.after,
                "call": timeline.after_call,
                "live": not run.is_terminal or timeline.has_more,
            }
        )

    # Acts.

    def offers(self, row: AgentRun) -> Iterable[str]:
        if row.status == RunStatus.QUEUED:
            yield "run_now"
        yield "retry" if row.is_terminal else "cancel"

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether the person may cancel runs."""
        return request.user.has_perm("langbot_runners.cancel_run")

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether the person may start runs again, or at once."""
        return request.user.has_perm("langbot_runners.change_agentrun")

    @admin.action(
        description=_("Run selected queued runs now"), permissions=["operate"]
    )
    def run_now(self, request: HttpRequest, queryset: QuerySet[AgentRun]) -> None:
        author = author_of(request)

        def wake(run: AgentRun) -> bool:
            if run.status != RunStatus.QUEUED:
                return False
            record_act(author, "run now", run)
            wake_runs([run.pk])
            return True

        self.carry_out(request, queryset, wake)

    @admin.action(description=_("Cancel selected runs"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[AgentRun]) -> None:
        author, reason = author_of(request), gettext("cancelled in the admin")

        def ask(run: AgentRun) -> bool:
            asked = request_cancel(run, reason)
            if asked:
                record_act(author, "cancel requested", run)
            return asked

        self.carry_out(request, queryset, ask)

    @admin.action(
        description=_("Try selected ended runs again"), permissions=["operate"]
    )
    def retry(self, request: HttpRequest, queryset: QuerySet[AgentRun]) -> None:
        author = author_of(request)
        self.carry_out(request, queryset, lambda run: bool(retry_run(run, author)))


_NAME = "langbot_runners_agentrun"

__all__ = ["RUN_TONES", "AgentRunAdmin", "RunTable"]
