"""What the page of a run shows beside its timeline."""

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext_lazy as _

from artifacts.models import Artifact
from langbot.core.permissions import COST, RAW_PAYLOAD
from langbot.lib.codes import explain
from langbot.lib.money import with_unknown
from runners.action_forms import title_of
from runners.admin.came_in import came_in
from runners.admin.display import (
    action_badge,
    delivery_badge,
    link_to,
    run_badge,
    seconds_between,
)
from runners.admin.timeline import timeline_of, usage_text
from runners.admin.wording import waiting_words
from runners.choices import EventType
from runners.models import AgentRun, Delivery, PendingAction, RemoteRuntime, WorkerNode

_MOST = 20  # related rows of a kind


def fieldsets_of(request: HttpRequest) -> list[tuple[Any, dict[str, Any]]]:
    """Return the parts of the page's form; frozen inputs only for those who may."""
    rules = ["agent_version", "binding", "origin", "depth", "deadline_at"]
    if request.user.has_perm(RAW_PAYLOAD):
        rules += ["frozen", "all_metadata"]
    carried = ["node", "fencing_token", "connection_id", "web_node", "invocation"]
    carried += ["last_seq", "last_runner_sequence", "inbound_cursor"]
    folded = ["collapse"]
    return [
        (_("What do people say about it?"), {"fields": ["labels", "notes"]}),
        (_("Which rules did it follow?"), {"classes": folded, "fields": rules}),
        (_("Who carried it?"), {"classes": folded, "fields": carried}),
    ]


def context_of(request: HttpRequest, run: AgentRun) -> dict[str, Any]:
    """Return what the template of the page shows."""
    after, after_call = read_position(request)
    timeline = timeline_of(run, after, after_call)
    return {
        **facts_of(request, run),
        "timeline": timeline,
        "after": after,
        "is_live": not run.is_terminal and not timeline.has_more,
        "stream_url": _stream_url(run),
        "event_types": " ".join(EventType.values),
        "came_in": came_in(run.event),
        "title": _("Run of %(agent)s") % {"agent": run.agent},
    }


def facts_of(request: HttpRequest, run: AgentRun) -> dict[str, Any]:
    """Return what the summary above the timeline shows; it changes while running."""
    return {
        "run": run,
        "status_badge": run_badge(run),
        "explanation": explain(run.error_code) if run.error_code else None,
        # One that never started waited until its end.
        "waited": seconds_between(run.queued_at, run.started_at or run.finished_at),
        "reason": waiting_words(run.status_reason, run.runner_id),
        "first_output": seconds_between(run.started_at, run.first_output_at),
        "took": seconds_between(run.started_at, run.finished_at),
        "usage": usage_text(run.usage),
        "cost": _cost(request, run),
        "bot": _bot(run),
        "worker": _worker(run),
        "attempts": _attempts(run),
        "children": run.children.defer("snapshot").order_by("pk")[:_MOST],
        "deliveries": [_delivery(one) for one in _deliveries(run)],
        "artifacts": _artifacts(run),
        "actions": [_action(one) for one in _actions(run)],
        "refusals": run.refusals.order_by("-last_at", "pk")[:_MOST],
    }


def read_position(request: HttpRequest) -> tuple[int, int]:
    """Return where the timeline goes on: `?after=` an event, `&call=` a host call."""
    return _number(request.GET.get("after"), 9), _number(request.GET.get("call"), 18)


def _number(text: str | None, digits: int) -> int:
    is_number = bool(text) and str(text).isascii() and str(text).isdecimal()
    return int(text) if text and is_number and len(text) <= digits else 0


def _stream_url(run: AgentRun) -> str:
    try:
        return reverse("langbot:run-stream", args=[run.public_id])
    except NoReverseMatch:
        return ""  # a project without our REST: the page asks again and again


def _cost(request: HttpRequest, run: AgentRun) -> str:
    if not request.user.has_perm(COST):
        return ""
    usage = run.usage if isinstance(run.usage, dict) else {}
    unknown = usage.get("calls_without_cost") or 0
    if run.cost_microdollars is None:
        return str(_("unknown")) if unknown else ""
    return with_unknown(run.cost_microdollars, unknown)


def _bot(run: AgentRun) -> str:
    """Return a link to the run's bot; `platforms` is a layer above this app."""
    if run.bot_id is None:
        return ""
    model: type[Model] = apps.get_model("langbot_platforms", "Bot")
    rows = model._default_manager.filter(public_id=run.bot_id).defer("secrets")
    return link_to(bot) if (bot := rows.first()) else str(_("a deleted bot"))


def _worker(run: AgentRun) -> str:
    """Return a link to the worker or the remote runtime that has or had the run."""
    if run.node is None:
        return ""
    for nodes in (WorkerNode.objects, RemoteRuntime.objects):
        node: Model | None = nodes.filter(public_id=run.node).first()
        if node is not None:
            return link_to(node)
    return ""


def _attempts(run: AgentRun) -> QuerySet[AgentRun]:
    """Return all runs of the same event and agent, when there are several."""
    rows = AgentRun.objects.filter(event=run.event_id, agent=run.agent_id)
    rows = rows.defer("snapshot", "metadata").order_by("attempt")
    return rows[:_MOST] if run.attempt > 1 or run.is_terminal else rows.none()


def _deliveries(run: AgentRun) -> QuerySet[Delivery]:
    return run.deliveries.defer("payload", "attempt_log").order_by("pk")[:_MOST]


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "row": delivery,
        "badge": delivery_badge(delivery),
        "place": delivery.place,
    }


def _actions(run: AgentRun) -> Iterable[PendingAction]:
    rows = run.pending_actions.defer("arguments", "answer", "decision")
    # The page's own query knows whether there are any; that of its refresh does not.
    return rows.order_by("pk")[:_MOST] if getattr(run, "has_asked", True) else ()


def _action(action: PendingAction) -> dict[str, Any]:
    return {
        "row": action,
        "badge": action_badge(action),
        "title": title_of(action),
    }


def _artifacts(run: AgentRun) -> QuerySet[Artifact]:
    # Through the conversation: that is the index there is.
    rows = Artifact.objects.filter(
        conversation_id_ref=run.conversation.public_id, run_id_ref=run.public_id
    )
    return rows.order_by("pk")[:_MOST]


__all__ = [
    "context_of",
    "facts_of",
    "fieldsets_of",
    "read_position",
]
