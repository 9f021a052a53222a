"""The ASGI application: HTTP through Django, WebSockets through Channels."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "langbot.settings")

from django.core.asgi import get_asgi_application

# Django must be set up before a consumer imports a model.
http_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter

from langbot.routing import websocket_urlpatterns
from langbot.threads import KeptThreads

application = ProtocolTypeRouter(
    {
        "http": KeptThreads(http_application),
        "websocket": URLRouter(websocket_urlpatterns),
    }
)
