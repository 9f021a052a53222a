"""How a worker takes the message of a `HandoverTask`."""

from typing import Any

from celery.worker.request import Request


class Unacknowledged(Request):
    """A message that is not acknowledged when its queue asks for none.

    Celery would acknowledge it all the same: a round trip for every message, from
    which Redis learns nothing.
    """

    def acknowledge(self) -> None:
        """Acknowledge to a queue that waits for it, such as another project's."""
        app: Any = self.app
        queue = app.amqp.queues.get(self.delivery_info.get("routing_key"))
        if queue is not None and queue.no_ack:
            self.acknowledged = True
        else:
            super().acknowledge()
