"""`/metrics` for Prometheus: what the database and Redis say, and this process's HTTP.

Nothing here counts a big table. Live rows have partial indexes; of ended runs only
those since the last look are read; failed deliveries are those among the newest.
Every replica tells the same about the installation: take `max` over them, not `sum`.
"""

import time
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from threading import Lock
from typing import Any

from django.db import Error
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from langbot import __version__
from langbot.core.models import ApiToken
from langbot.core.rest import AUTHENTICATION
from langbot.core.tokens import METRICS
from langbot.lib.conf import conf
from langbot.lib.rows import row_left_out
from langbot.metrics_runs import RunsSeen
from langbot.metrics_state import (
    deliveries_by_status,
    live_runs,
    plugin_connections,
    waiting_messages,
    workers_alive,
)
from langbot.metrics_usage import UsageSeen

# A series more per counter, of use to few.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library is untyped here

FRESH_SECONDS = 5.0  # scrapes that come closer together share one look
REGISTRY = CollectorRegistry(auto_describe=True)
REQUESTS = Counter(
    "langbot_http_requests",
    "HTTP requests answered by this process.",
    ["method", "route", "status"],
    registry=REGISTRY,
)
SECONDS = Histogram(
    "langbot_http_request_seconds",
    "Time to the first byte of an answer.",
    ["method", "route"],
    buckets=(0.01, 0.05, 0.1, 0.3, 1, 3, 10),
    registry=REGISTRY,
)
LEFT_OUT = Counter(
    "langbot_rows_left_out",
    "Rows that this process could not show in a list.",
    ["model"],
    registry=REGISTRY,
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@receiver(row_left_out, dispatch_uid="langbot.metrics")
def _count_left_out(model: str, **_signal: Any) -> None:
    LEFT_OUT.labels(model).inc()


class MetricsMiddleware:
    """Counts requests by route, never by address: ids would be endless labels."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        response = self.get_response(request)
        match = request.resolver_match
        route = match.route if match is not None else "unmatched"
        method = request.method if request.method in _METHODS else "other"
        REQUESTS.labels(method, route, response.status_code).inc()
        SECONDS.labels(method, route).observe(time.perf_counter() - began)
        return response


class StateCollector(Collector):
    """Looks at the installation when it is scraped, at most every 5 s. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._runs = RunsSeen()
        self._usage = UsageSeen()
        self._seen: list[Metric] = []
        self._seen_at = float("-inf")

    def collect(self) -> Iterable[Metric]:
        """Return the metrics; only `langbot_database_up` 0 without a database."""
        with self._lock:
            if time.monotonic() - self._seen_at >= FRESH_SECONDS:
                self._seen = self._look()
                self._seen_at = time.monotonic()
            return self._seen

    def describe(self) -> Iterable[Metric]:
        """Name nothing: registering must not ask the database."""
        return []

    def _look(self) -> list[Metric]:
        up = GaugeMetricFamily("langbot_database_up", "Whether the database answers.")
        version = GaugeMetricFamily(
            "langbot_build_info", "What runs here.", labels=["version"]
        )
        version.add_metric([__version__], 1)
        try:
            found = [*_gauges(), *self._runs.look(), *self._usage.look()]
        except Error:
            up.add_metric([], 0)
            return [version, up]
        up.add_metric([], 1)
        return [version, up, *found]


def _gauges() -> Iterable[Metric]:
    yield _by("langbot_live_runs", "Runs that have not ended.", "status", live_runs())
    waiting = "Messages that wait for the running turn of their conversation."
    yield GaugeMetricFamily(
        "langbot_queued_messages", waiting, value=waiting_messages()
    )
    what = "Open deliveries, and failed ones among the newest."
    yield _by("langbot_deliveries", what, "status", deliveries_by_status())
    alive = "Worker processes with a fresh heartbeat."
    yield GaugeMetricFamily("langbot_workers_alive", alive, value=workers_alive())
    what = "Plugin processes that are connected."
    yield _by("langbot_plugin_connections", what, "plugin", plugin_connections())


def _by(name: str, what: str, label: str, numbers: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, what, labels=[label])
    for value, number in numbers.items():
        family.add_metric([value], number)
    return family


ProcessCollector(registry=REGISTRY)
STATE = StateCollector()
REGISTRY.register(STATE)


class MayScrape(BasePermission):
    """Addresses of `METRICS_ALLOW`, tokens with the scope `metrics`, superusers.

    The numbers are those of every workspace, so a member of one never sees them. A
    superuser's token without scopes has them all; one with other scopes has not.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        if _is_allowed(request.META.get("REMOTE_ADDR") or ""):
            return True
        token = request.auth
        if isinstance(token, ApiToken) and token.scopes:
            return METRICS in token.scopes
        return bool(getattr(request.user, "is_superuser", False))


def _is_allowed(address: str) -> bool:
    try:
        client = ip_address(address)
    except ValueError:
        return False  # a unix socket has no address
    return any(client in network for network in conf().metrics_allow)


class MetricsView(APIView):
    """`GET /metrics` in Prometheus' text format."""

    schema = None
    authentication_classes = AUTHENTICATION
    permission_classes = [MayScrape]

    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)
