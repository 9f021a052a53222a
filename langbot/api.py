"""`/api/v1/`: which view serves which resource."""

from django.urls import URLPattern, URLResolver, path
from rest_framework.routers import SimpleRouter

from langbot.core.pagination import CursorPage


def urls() -> list[URLPattern | URLResolver]:
    """Return the API's URL patterns.

    Imports the views only now: REST framework imports this module for `CursorPage`
    while it is itself being imported.
    """
    from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

    from agents.api.agents import AgentViewSet
    from agents.api.bindings import BindingViewSet
    from agents.api.catalogue import RunnerViewSet
    from langbot import schema  # noqa: F401  tells the schema about our tokens
    from runners.api.conversations import ConversationViewSet, QueuedViewSet
    from runners.api.events import EventViewSet
    from runners.api.runs import DeliveryViewSet, RunViewSet

    router = SimpleRouter(use_regex_path=False)
    router.register("agents", AgentViewSet, "agent")
    router.register("bindings", BindingViewSet, "binding")
    router.register("runners", RunnerViewSet, "runner")
    router.register("events", EventViewSet, "event")
    router.register("conversations", ConversationViewSet, "conversation")
    router.register("queued", QueuedViewSet, "queued")
    router.register("runs", RunViewSet, "run")
    router.register("deliveries", DeliveryViewSet, "delivery")
    return [
        path("schema/", SpectacularAPIView.as_view(), name="schema"),
        path("docs/", SpectacularSwaggerView.as_view(), name="docs"),
        *router.urls,
    ]


__all__ = ["CursorPage", "urls"]
