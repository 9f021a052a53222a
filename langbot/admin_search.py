"""One search over every record: paste any id into the admin's search (Ctrl+K)."""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from langbot.lib.admin import SearchResult

# Where ids lead, with the icons of the sidebar.
PLACES = {
    "langbot_runners.AgentRun": "play_circle",
    "langbot_runners.EventLog": "bolt",
    "langbot_runners.Conversation": "forum",
    "langbot_runners.Delivery": "outbox",
    "langbot_runners.QueuedMessage": "queue",
    "langbot_artifacts.Artifact": "attach_file",
    "langbot_agents.Agent": "smart_toy",
    "langbot_platforms.Bot": "chat",
}
_MOST = 5  # of each kind


def search_records(request: HttpRequest, _lowered: str) -> list[SearchResult]:
    """Return what the person may see of the records that an id or name leads to.

    The theme hands the text over in lower case; ids of platforms need theirs.
    """
    text = request.GET.get("s", "").strip()
    if not text or "\x00" in text:
        return []
    return [result for label in PLACES for result in _found(request, label, text)]


def _found(request: HttpRequest, label: str, text: str) -> Iterator[SearchResult]:
    model = apps.get_model(label)
    registered: Any = admin.site._registry.get(model)
    if registered is None or not registered.has_view_permission(request):
        return
    rows, _ = registered.get_search_results(
        request, registered.get_queryset(request), text
    )
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
    for row in rows.order_by("-pk")[:_MOST]:
        yield SearchResult(
            title=str(row),
            description=str(model._meta.verbose_name),
            link=reverse(name, args=[row.pk]),
            icon=PLACES[label],
        )


__all__ = ["search_records"]
