"""`/api/v1/`: which view serves which resource."""

from typing import Any

from django.urls import URLPattern, URLResolver, path
from rest_framework.routers import SimpleRouter

from langbot.core.pagination import CursorPage
from langbot.openapi import DOCUMENT


def urls() -> list[URLPattern | URLResolver]:
    """Return the API's URL patterns.

    Imports the views only now: REST framework imports this module for `CursorPage`
    while it is itself being imported.
    """
    from agents.api.agents import AgentViewSet
    from agents.api.bindings import BindingViewSet
    from agents.api.catalogue import RunnerViewSet
    from agents.api.limits import PriceViewSet, QuotaViewSet, TierViewSet
    from agents.api.usage import OWN, TOTALS, OwnUsageViewSet, UsageViewSet
    from artifacts.api.artifacts import ArtifactViewSet
    from langbot import schema  # noqa: F401  tells the schema about our tokens
    from langbot.core.api.accounts import ServiceAccountViewSet
    from langbot.core.api.apply import APPLY, ApplyViewSet
    from langbot.core.api.audit import AuditViewSet
    from langbot.core.api.retention import RETENTION, RetentionViewSet
    from langbot.core.api.tokens import TokenViewSet
    from platforms.api.bots import BotViewSet
    from runners.api.actions import ActionViewSet
    from runners.api.conversations import ConversationViewSet, QueuedViewSet
    from runners.api.deliveries import DeliveryViewSet
    from runners.api.events import EventViewSet
    from runners.api.runs import RunViewSet
    from runners.api.states import StateViewSet
    from runners.api.steering import SteeringViewSet

    router = SimpleRouter(use_regex_path=False)
    router.register("agents", AgentViewSet, "agent")
    router.register("bindings", BindingViewSet, "binding")
    router.register("bots", BotViewSet, "bot")
    router.register("runners", RunnerViewSet, "runner")
    router.register("events", EventViewSet, "event")
    router.register("conversations", ConversationViewSet, "conversation")
    router.register("queued", QueuedViewSet, "queued")
    router.register("runs", RunViewSet, "run")
    router.register("runs", SteeringViewSet, "run-steering")
    router.register("actions", ActionViewSet, "action")
    router.register("artifacts", ArtifactViewSet, "artifact")
    router.register("deliveries", DeliveryViewSet, "delivery")
    router.register("state", StateViewSet, "state")
    router.register("tokens", TokenViewSet, "token")
    router.register("service-accounts", ServiceAccountViewSet, "service-account")
    router.register("audit", AuditViewSet, "audit")
    router.register("quotas", QuotaViewSet, "quota")
    router.register("prices", PriceViewSet, "price")
    router.register("tiers", TierViewSet, "tier")
    return [
        *_document_urls(),
        path("apply/", ApplyViewSet.as_view(APPLY), name="apply"),
        path("retention/", RetentionViewSet.as_view(RETENTION), name="retention"),
        path("usage/", UsageViewSet.as_view(TOTALS), name="usage"),
        path("usage/me/", OwnUsageViewSet.as_view(OWN), name="usage-me"),
        *router.urls,
    ]


def _document_urls() -> list[URLPattern]:
    """Return the document's patterns; none where another generator is the default.

    Descriptions of methods are then made for that one, and ours cannot read them.
    """
    from drf_spectacular.openapi import AutoSchema
    from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
    from rest_framework.settings import api_settings

    default: Any = api_settings.DEFAULT_SCHEMA_CLASS
    if not issubclass(default, AutoSchema):
        return []
    document = SpectacularAPIView.as_view(custom_settings=DOCUMENT)
    explorer = SpectacularSwaggerView.as_view(
        url_name="langbot:schema", template_name="langbot/api_docs.html"
    )
    return [
        path("schema/", document, name="schema"),
        path("docs/", explorer, name="docs"),
    ]


__all__ = ["CursorPage", "urls"]
