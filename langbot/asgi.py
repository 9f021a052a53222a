"""The ASGI application: HTTP through Django, WebSockets through Channels."""

# ruff: noqa: E402  Django must be set up before a consumer imports a model

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "langbot.settings")
django.setup(set_prefix=False)

from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import get_resolver

from langbot.routing import websocket_urlpatterns
from langbot.threads import ThreadedHandler

# All views, before the first request waits for them.
len(get_resolver().url_patterns)

application = ProtocolTypeRouter(
    {
        "http": ThreadedHandler(),
        "websocket": URLRouter(websocket_urlpatterns),
    }
)
