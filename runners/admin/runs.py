"""Runs: a list that stays fast, and a page that shows what happened."""

import json
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.timezone import localtime
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from langbot.core.admin import author_of
from langbot.core.audit import record_act
from langbot.lib import admin as look
from langbot.lib.redaction import redact
from runners.admin.timeline import timeline_of
from runners.choices import RunStatus
from runners.models import AgentRun
from runners.services import request_cancel

RUN_TONES: dict[str, str] = {
    RunStatus.COMPLETED: look.GOOD,
    RunStatus.FAILED: look.BAD,
    RunStatus.TIMEOUT: look.BAD,
    RunStatus.RUNNING: look.BUSY,
    RunStatus.REQUIRES_ACTION: look.WARN,
}
SHOWN_CALLS = 200  # host calls on a run's page


def run_badge(run: AgentRun) -> str:
    """Return the status of a run as a badge."""
    tone = RUN_TONES.get(run.status, look.CALM)
    return look.badge(run.get_status_display(), tone)


def moment(value: Any) -> str:
    """Return a time to the second, in the person's zone; a dash for none."""
    return f"{localtime(value):%Y-%m-%d %H:%M:%S}" if value else "—"


class TimedList:
    """A list whose first column is when the row was made."""

    @admin.display(description=_("time"), ordering="created_at")
    def at(self, row: Any) -> str:
        return moment(row.created_at)


class RunTable(TimedList):
    """What the list of runs shows."""

    @admin.display(description=_("status"), ordering="status")
    def state(self, run: AgentRun) -> str:
        return run_badge(run)

    @admin.display(description=_("input"))
    def said(self, run: AgentRun) -> str:
        return run.event.input_summary[:80] or run.event.type

    @admin.display(description=_("runner"))
    def runner(self, run: AgentRun) -> str:
        return run.runner_id.removeprefix("plugin:")

    @admin.display(description=_("took"))
    def took(self, run: AgentRun) -> str:
        return seconds_between(run.started_at, run.finished_at)

    @admin.display(description=_("problem"))
    def problem(self, run: AgentRun) -> str:
        return run.error_code or run.status_reason


def seconds_between(start: Any, end: Any) -> str:
    """Return a duration in seconds, or a dash while one end is missing."""
    return f"{(end - start).total_seconds():.2f} s" if start and end else "—"


@admin.register(AgentRun)
class AgentRunAdmin(look.RecordAdmin, RunTable):
    Media = look.Media
    list_display = ["at", "state", "agent", "said", "runner", "took", "problem"]
    list_filter = ["status", "agent"]
    list_select_related = ["agent", "event"]
    search_fields = ["public_id", "error_code"]
    search_help_text = _("The id of a run, or an error code.")
    actions = ["cancel"]
    change_form_template = "admin/langbot_runners/run.html"
    readonly_fields = ["frozen"]
    fieldsets = [
        (
            _("Which rules did it follow?"),
            {
                "classes": ["collapse"],
                "fields": ["agent_version", "binding", "frozen", "metadata"],
            },
        ),
        (
            _("Who carried it?"),
            {
                "classes": ["collapse"],
                "fields": [
                    "node",
                    "fencing_token",
                    "connection_id",
                    "web_node",
                    "invocation",
                    "last_seq",
                    "last_runner_sequence",
                    "inbound_cursor",
                ],
            },
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> Any:
        # Snapshots are large, and the list needs none of them.
        runs = super().get_queryset(request)
        match = request.resolver_match
        if (
            match is not None
            and match.url_name == "langbot_runners_agentrun_changelist"
        ):
            return runs.defer("snapshot", "metadata", "event__input", "event__data")
        return runs.select_related("agent", "event", "conversation", "binding")

    @admin.display(description=_("snapshot"))
    def frozen(self, run: AgentRun) -> str:
        return document(run.snapshot)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether the person may cancel runs: those who may change them."""
        return request.user.has_perm("langbot_runners.change_agentrun")

    def get_urls(self) -> Any:
        wrap = self.admin_site.admin_view
        name = "langbot_runners_agentrun"
        return [
            path(
                "<int:pk>/timeline/", wrap(self.timeline_view), name=f"{name}_timeline"
            ),
            path("<int:pk>/cancel/", wrap(self.cancel_view), name=f"{name}_cancel"),
            *super().get_urls(),
        ]

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        run: AgentRun | None = context.get("original")
        if run is not None:
            after = _number(request.GET.get("after"))
            timeline = timeline_of(run, after)
            context |= {
                **_facts(run),
                "timeline": timeline,
                "after": after,
                "is_live": not run.is_terminal and not timeline.has_more,
                "may_cancel": self.has_cancel_permission(request),
                "host_calls": run.host_calls.order_by("pk")[:SHOWN_CALLS],
                "title": _("Run of %(agent)s") % {"agent": run.agent},
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def timeline_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Answer what happened since `after`, as rows of the page's table."""
        run = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_view_permission(request, run):
            return JsonResponse({}, status=403)
        timeline = timeline_of(run, _number(request.GET.get("after")))
        rows = render_to_string(
            "admin/langbot_runners/rows.html", {"timeline": timeline}
        )
        summary = render_to_string(
            "admin/langbot_runners/summary.html", _facts(run), request
        )
        return JsonResponse(
            {
                "rows": rows,
                "summary": summary,
                "after": timeline.after,
                "live": not run.is_terminal or timeline.has_more,
            }
        )

    def cancel_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask the run of this page to stop."""
        run = get_object_or_404(self.get_queryset(request), pk=pk)
        if request.method == "POST" and self.has_cancel_permission(request):
            self._cancel(request, [run])
        return HttpResponseRedirect(
            reverse("admin:langbot_runners_agentrun_change", args=[pk])
        )

    @admin.action(description=_("Cancel selected runs"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[AgentRun]) -> None:
        self._cancel(request, list(queryset))

    def _cancel(self, request: HttpRequest, runs: list[AgentRun]) -> None:
        reason = gettext("cancelled in the admin")
        cancelled = [run for run in runs if request_cancel(run, reason)]
        for run in cancelled:
            record_act(author_of(request), "cancel requested", run)
        done = ngettext(
            "%(count)d run is being cancelled.",
            "%(count)d runs are being cancelled.",
            len(cancelled),
        )
        level = messages.SUCCESS if cancelled else messages.WARNING
        self.message_user(request, done % {"count": len(cancelled)}, level)


def document(value: Any) -> str:
    """Return a JSON document for reading, without secrets and payloads."""
    text = json.dumps(redact(value), indent=2, ensure_ascii=False)
    return format_html('<pre class="lb-text">{}</pre>', text)


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 10 else 0  # noqa: PLR2004  a seq is an int32


def _facts(run: AgentRun) -> dict[str, Any]:
    """Return what the summary above the timeline shows."""
    return {
        "run": run,
        "status_badge": run_badge(run),
        "waited": seconds_between(run.queued_at, run.started_at),
        "first_output": seconds_between(run.started_at, run.first_output_at),
        "took": seconds_between(run.started_at, run.finished_at),
        "deliveries": run.deliveries.order_by("pk")[:20],
        "children": run.children.order_by("pk")[:20],
        "usage": run.usage if isinstance(run.usage, dict) else {},
    }
