"""Numbers of what is there now; each is one question on a small or indexed set."""

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from django.db.models import Model, QuerySet

from agents.choices import ConnectionStatus
from agents.models import PluginConnection
from langbot.lib.redis import FAILURES, node_alive, quick_client
from runners.choices import LIVE, DeliveryStatus, QueuedStatus
from runners.models import AgentRun, Delivery, QueuedMessage, WorkerNode

Row = TypeVar("Row", bound=Model)

NEWEST_DELIVERIES = 10_000  # among which failed ones are looked for
_OPEN = (DeliveryStatus.PENDING, DeliveryStatus.SENDING)
_CLOSED = (DeliveryStatus.FAILED, DeliveryStatus.UNCERTAIN)


def live_runs() -> dict[str, int]:
    """Return the number of runs by live status."""
    return _by_status(AgentRun.objects.order_by(), LIVE)


def waiting_messages() -> int:
    """Return the number of messages that wait for a running turn."""
    return QueuedMessage.objects.filter(status=QueuedStatus.QUEUED).count()


def deliveries_by_status() -> dict[str, int]:
    """Return the open deliveries, and the failed ones among the newest 10,000."""
    rows = Delivery.objects.order_by()
    newest = Delivery.objects.order_by("-pk").values_list("pk", flat=True).first()
    recent = rows.filter(pk__gt=(newest or 0) - NEWEST_DELIVERIES)
    return _by_status(rows, _OPEN) | _by_status(recent, _CLOSED)


def _by_status(rows: QuerySet[Row], statuses: Iterable[str]) -> dict[str, int]:
    """Ask for one at a time: SQLite uses no partial index for several."""
    return {str(one): rows.filter(status=one).count() for one in statuses}


def workers_alive() -> int:
    """Return the number of workers that were heard of lately."""
    return WorkerNode.objects.alive().count()


def plugin_connections() -> dict[str, int]:
    """Return the number of live connections by plugin; none without Redis.

    A row may outlive the web process that held the socket; its heartbeat does not.
    """
    online = PluginConnection.objects.filter(status=ConnectionStatus.ONLINE)
    rows = list(online.values_list("plugin", "web_node"))
    nodes = sorted({node for _plugin, node in rows})
    try:
        with quick_client().pipeline(transaction=False) as pipeline:
            for node in nodes:
                pipeline.exists(node_alive(node))
            alive = dict(zip(nodes, pipeline.execute(), strict=True))
    except FAILURES:
        return {}
    return dict(Counter(plugin for plugin, node in rows if alive[node]))
