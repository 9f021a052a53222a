"""The project's Celery app. Tasks carry row ids only; results are never kept."""

import os

from celery import Celery
from kombu import Exchange, Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "langbot.settings")

app = Celery("langbot")


def broker_url(redis_url: str) -> str:
    """Return kombu's spelling of a redis URL (unix sockets differ)."""
    if redis_url.startswith("unix://"):
        return "redis+socket://" + redis_url.removeprefix("unix://")
    return redis_url


def configure(celery: Celery) -> None:
    """Apply what the host relies on; another project may call it on its own app."""
    from langbot.lib.conf import conf

    celery.conf.update(
        broker_url=broker_url(conf().redis_url),
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "global_keyprefix": conf().redis_prefix + "celery:",
            "socket_timeout": 5.0,
            "socket_connect_timeout": 0.3,
            "max_retries": 0,
            # No task has a priority: a read names a quarter of the keys.
            "priority_steps": [0],
        },
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=False,
        task_default_queue="ops",
        # Unacknowledged: a lost message costs the 2 s until the rows are polled.
        task_queues=[
            Queue(name, Exchange(name), name, no_ack=True) for name in ("runs", "ops")
        ],
        task_create_missing_queues=False,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )


configure(app)
app.autodiscover_tasks()
