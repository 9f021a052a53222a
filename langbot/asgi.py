"""The ASGI application: HTTP through Django, WebSockets through Channels."""

# ruff: noqa: E402  Django must be set up before a consumer imports a model

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "langbot.settings")
django.setup(set_prefix=False)

from channels.routing import ProtocolTypeRouter, URLRouter

from langbot.routing import websocket_urlpatterns
from langbot.threads import ThreadedHandler

application = ProtocolTypeRouter(
    {
        "http": ThreadedHandler(),
        "websocket": URLRouter(websocket_urlpatterns),
    }
)
