from typing import Any

from django.urls import path

from runners.gateway.consumers import PluginConsumer

# Channels' router calls ASGI applications where Django's types expect views.
_plugin: Any = PluginConsumer.as_asgi()

websocket_urlpatterns = [
    path("ws/plugin/", _plugin),
    path("plugin/debug/ws", _plugin),
]
