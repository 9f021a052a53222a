"""The inbox: what waits for a person, and who decided what."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Case, Q, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _

from langbot.core.access import author_of
from langbot.core.permissions import RAW_PAYLOAD, RESOLVE_ACTION
from langbot.lib import admin as look
from runners.action_forms import (
    DecisionForm,
    add_error,
    form_for,
    read_decision,
    reason_of,
    refusal_text,
    resolution_text,
    title_of,
)
from runners.actions import (
    ActionError,
    Decider,
    Decision,
    DecisionInvalidError,
    resolve_action,
)
from runners.admin.acts import Acts
from runners.admin.display import (
    TimedList,
    action_badge,
    document,
    link_to,
    moment,
    page_of,
)
from runners.admin.filters import AgentFilter, KindFilter, StatusFilter
from runners.admin.search import IdSearch, actions_named
from runners.choices import ActionKind, ActionStatus
from runners.errors import AdmissionError
from runners.models import PendingAction

_LARGE = (
    "run__snapshot",
    "run__metadata",
    "run__notes",
    "agent__runner_config",
)


class RefusedError(AdmissionError):
    """A decision that came too late or does not fit, in the words of the list."""

    code = "action_refused"


class InboxPaginator(look.LargeTablePaginator):
    """Counts requests: "inbox" is the name of the page, and has no plural."""

    template_name = "admin/langbot_runners/inbox_pages.html"


@admin.register(PendingAction)
class PendingActionAdmin(Acts, IdSearch, look.RecordAdmin, TimedList):
    class Media(look.RecordMedia):
        css = {"all": [*look.RecordMedia.css["all"], "langbot_admin/agents.css"]}

    list_display = ["at", "state", "asked", "agent_link", "run_link", "until", "who"]
    list_filter = [StatusFilter, KindFilter, AgentFilter]
    list_filter_submit = True
    search_fields = ["public_id"]
    search_help_text = _(
        "The whole id of an action, run or conversation, or the name of a tool."
    )
    paginator = InboxPaginator  # type: ignore[misc]  # one base calls it a class variable
    actions = ["approve", "reject"]
    change_form_template = "admin/langbot_runners/action.html"
    readonly_fields = [
        *("state", "asked", "content", "agent_link", "run_link", "place", "until"),
        *("outcome", "decided", "answered"),
    ]

    def matches(self, text: str) -> Q:
        return actions_named(text)

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request).select_related("run", "agent")
        return rows.select_related("conversation").defer(*_LARGE)

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        """What waits comes first."""
        waiting = When(status=ActionStatus.OPEN, then=Value(0))
        return [Case(waiting, default=Value(1)).asc(), "-pk"]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        # What "Select all 120 …" says of them.
        counted = {"module_name": _("requests"), **(extra_context or {})}
        return super().changelist_view(request, counted)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        is_question = obj is not None and obj.kind == ActionKind.QUESTION
        asked = ["asked", *([] if is_question else ["tool_name", "content"])]
        asked += ["reason", "until"] if obj and reason_of(obj) else ["until"]
        became = ["state", "outcome"]
        if request.user.has_perm(RAW_PAYLOAD):
            became += ["decided", "answered"] if obj and obj.answer else ["decided"]
        origin = ["workspace", "agent_link", "run_link", "place", "tool_call_id"]
        return [
            (_("What is asked?"), {"fields": asked}),
            (_("What became of it?"), {"fields": became}),
            (_("Where does it come from?"), {"fields": [*origin, "public_id"]}),
        ]

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        action = context.get("original")
        if action is not None:
            context["title"] = title_of(action)
            context["reason"] = reason_of(action)
            if action.is_open and self.has_resolve_permission(request):
                given = getattr(request, "langbot_decision", None)
                form: DecisionForm = given or form_for(action)
                look.dress(form.fields.values())
                context["decision_form"] = form
                context["is_question"] = action.kind == ActionKind.QUESTION
                context["decide_url"] = self._decide_url(action)
            elif not action.is_open:
                context["resolution"] = resolution_text(action)
        return super().render_change_form(request, context, *args, **kwargs)

    def get_urls(self) -> Any:
        view = self.admin_site.admin_view(self.decide_view)
        name = "langbot_runners_pendingaction_decide"
        return [path("<int:pk>/decide/", view, name=name), *super().get_urls()]

    def decide_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Decide, and go back to the page; what was entered wrong is shown on it.

        Only a POST decides: who loads the address again comes to the page.
        """
        if not self.has_resolve_permission(request):
            raise PermissionDenied
        action = get_object_or_404(self.get_queryset(request), pk=pk)
        if request.method != "POST":
            return HttpResponseRedirect(page_of(action))
        form = form_for(action, request.POST)
        decision = read_decision(form, request.POST)
        if decision is not None:
            try:
                self._resolve(request, action, decision)
                self.message_user(request, _("Decided."), messages.SUCCESS)
            except DecisionInvalidError as error:
                add_error(form, error)
            except (ActionError, AdmissionError) as error:
                text = _refusal(error)
                self.message_user(request, text, messages.WARNING)
        if action.is_open and form.errors:
            return self._again(request, action, form)
        return HttpResponseRedirect(page_of(action))

    def _again(
        self, request: HttpRequest, action: PendingAction, form: DecisionForm
    ) -> HttpResponse:
        """Show the page with what is wrong with the form."""
        request.langbot_decision = form  # type: ignore[attr-defined]  # read by render_change_form
        request.method = "GET"  # the page itself has nothing to save
        return self.change_view(request, str(action.pk))

    def _resolve(
        self, request: HttpRequest, action: PendingAction, decision: Decision
    ) -> None:
        decider = Decider(user=request.user, name=author_of(request))
        resolve_action(action.public_id, decision, decider)

    def _decide_url(self, action: PendingAction) -> str:
        name = "admin:langbot_runners_pendingaction_decide"
        return reverse(name, args=[action.pk])

    def offers(self, row: PendingAction) -> Iterable[str]:
        return ()  # the page has a form of its own

    def has_resolve_permission(self, request: HttpRequest) -> bool:
        """Whether the person may decide."""
        return request.user.has_perm(RESOLVE_ACTION)

    @admin.action(
        description=_("Approve selected tool calls, this once"), permissions=["resolve"]
    )
    def approve(self, request: HttpRequest, queryset: QuerySet[PendingAction]) -> None:
        self._decide_each(request, queryset, Decision(decision="approve"))

    @admin.action(description=_("Reject what is selected"), permissions=["resolve"])
    def reject(self, request: HttpRequest, queryset: QuerySet[PendingAction]) -> None:
        self._decide_each(request, queryset, Decision(decision="reject"))

    def _decide_each(
        self,
        request: HttpRequest,
        rows: QuerySet[PendingAction],
        decision: Decision,
    ) -> None:
        def decide(action: PendingAction) -> bool:
            try:
                self._resolve(request, action, decision)
            except ActionError as error:
                raise RefusedError(refusal_text(error)) from None
            return True

        self.carry_out(request, rows, decide)

    @admin.display(description=_("status"), ordering="status")
    def state(self, action: PendingAction) -> str:
        return action_badge(action)

    @admin.display(description=_("asked"))
    def asked(self, action: PendingAction) -> str:
        return title_of(action)

    @admin.display(description=_("agent"))
    def agent_link(self, action: PendingAction) -> str:
        return link_to(action.agent)

    @admin.display(description=_("run"))
    def run_link(self, action: PendingAction) -> str:
        return link_to(action.run)

    @admin.display(description=_("conversation"))
    def place(self, action: PendingAction) -> str:
        return link_to(action.conversation)

    @admin.display(description=_("expires"))
    def until(self, action: PendingAction) -> str:
        return moment(action.expires_at)

    @admin.display(description=_("who decided"))
    def who(self, action: PendingAction) -> str:
        return action.decided_by_name or "—"

    @admin.display(description=_("arguments"))
    def content(self, action: PendingAction) -> str:
        return document(action.arguments)

    @admin.display(description=_("outcome"))
    def outcome(self, action: PendingAction) -> str:
        return "—" if action.is_open else resolution_text(action)

    @admin.display(description=_("decision"))
    def decided(self, action: PendingAction) -> str:
        return document(action.decision) if action.decision else "—"

    @admin.display(description=_("what the agent was told"))
    def answered(self, action: PendingAction) -> str:
        return document(action.answer) if action.answer else "—"


def _refusal(error: ActionError | AdmissionError) -> str:
    return refusal_text(error) if isinstance(error, ActionError) else str(error)
