"""WebSocket routes of this app, for a project's own router."""

from typing import Any

from django.urls import path

from platforms.consumers import ChatConsumer

# Channels' router calls ASGI applications where Django's types expect views.
_chat: Any = ChatConsumer.as_asgi()

websocket_urlpatterns = [
    path("ws/chat/<slug:slug>/", _chat),
]
