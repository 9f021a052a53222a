"""The client gateway's route, for a project's own router."""

from typing import Any

from django.urls import path

from runners.clients.consumers import RunConsumer

# Channels' router calls ASGI applications where Django's types expect views.
_run: Any = RunConsumer.as_asgi()

# Any text: an address that is no id is answered like an unknown run.
websocket_urlpatterns = [path("ws/runs/<str:run_id>/", _run)]
