"""WebSocket routes; another project may include these patterns in its own router."""

from platforms.routing import websocket_urlpatterns as chat_patterns
from runners.clients.routing import websocket_urlpatterns as client_patterns
from runners.gateway.routing import websocket_urlpatterns as plugin_patterns

websocket_urlpatterns = [*plugin_patterns, *client_patterns, *chat_patterns]
