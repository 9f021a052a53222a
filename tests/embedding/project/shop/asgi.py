import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
http = get_asgi_application()  # before anything that imports a model

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402

from langbot.routing import websocket_urlpatterns  # noqa: E402

sockets = URLRouter([path("ai/", URLRouter(websocket_urlpatterns))])
application = ProtocolTypeRouter({"http": http, "websocket": sockets})
