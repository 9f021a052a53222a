"""WebSocket routes of this app, for a project's own router."""

from django.urls import path

from platforms.consumers import ChatConsumer

websocket_urlpatterns = [
    path("ws/chat/<slug:slug>/", ChatConsumer.as_asgi()),  # type: ignore[arg-type]  # Channels routes ASGI applications by Django's path
]
