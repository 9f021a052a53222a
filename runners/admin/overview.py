"""The numbers on the admin's first page."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db.models import Count
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from agents.admin.registry import online_runner_ids
from langbot.lib.conf import limits
from runners.admin.runs import RUN_TONES
from runners.choices import DeliveryStatus, QueuedStatus, RunStatus
from runners.models import AgentRun, Delivery, QueuedMessage, WorkerNode

MOST_RUNS = 50_000  # looked at; a busier day shows the latest of these
_DAY = timedelta(hours=24)


@dataclass(slots=True)
class Tile:
    """One number with its link; `parts` are (text, tone) badges."""

    title: str
    number: str
    url: str
    is_alert: bool = False
    parts: list[tuple[str, str]] = field(default_factory=list)


def tiles_for(request: HttpRequest) -> list[Tile]:
    """Return the tiles that the person may see."""
    tiles = {
        "langbot_runners.view_agentrun": _runs,
        "langbot_agents.view_runnerdescriptor": _runners,
        "langbot_runners.view_workernode": _workers,
        "langbot_runners.view_queuedmessage": _waiting,
        "langbot_runners.view_delivery": _deliveries,
    }
    return [make() for name, make in tiles.items() if request.user.has_perm(name)]


def _since(moment: datetime) -> UUID:
    """Return the smallest UUIDv7 of a moment: public ids are indexed by time."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def _runs() -> Tile:
    today = AgentRun.objects.filter(public_id__gte=_since(datetime.now(UTC) - _DAY))
    latest = today.order_by("-public_id").values("pk")[:MOST_RUNS]
    counts = dict(
        AgentRun.objects.filter(pk__in=latest)
        .order_by()
        .values_list("status")
        .annotate(Count("pk"))
    )
    total = sum(counts.values())
    more = "+" if total >= MOST_RUNS else ""
    parts = [
        (f"{RunStatus(status).label} {count}", RUN_TONES.get(status, "calm"))
        for status, count in _in_order(counts)
    ]
    url = reverse("admin:langbot_runners_agentrun_changelist")
    return Tile(_("Runs in the last 24 hours"), f"{total}{more}", url, parts=parts)


def _in_order(counts: dict[str, int]) -> Iterable[tuple[str, int]]:
    return ((status, counts[status]) for status in RunStatus if status in counts)


def _runners() -> Tile:
    count = len(online_runner_ids())
    url = reverse("admin:langbot_agents_runnerdescriptor_changelist")
    return Tile(_("Runners online"), str(count), url, is_alert=count == 0)


def _workers() -> Tile:
    living = datetime.now(UTC) - timedelta(seconds=limits().node_dead_seconds)
    count = WorkerNode.objects.filter(heartbeat_at__gt=living, stopped_at=None).count()
    url = reverse("admin:langbot_runners_workernode_changelist")
    return Tile(_("Workers alive"), str(count), url, is_alert=count == 0)


def _waiting() -> Tile:
    count = QueuedMessage.objects.filter(status=QueuedStatus.QUEUED).count()
    url = reverse("admin:langbot_runners_queuedmessage_changelist")
    return Tile(_("Messages waiting"), str(count), f"{url}?status__exact=queued")


def _deliveries() -> Tile:
    wrong = [DeliveryStatus.FAILED, DeliveryStatus.UNCERTAIN]
    today = Delivery.objects.filter(public_id__gte=_since(datetime.now(UTC) - _DAY))
    count = today.filter(status__in=wrong).count()
    url = reverse("admin:langbot_runners_delivery_changelist")
    title = _("Deliveries failed or uncertain, 24 hours")
    return Tile(title, str(count), f"{url}?status__exact=failed", is_alert=count > 0)
