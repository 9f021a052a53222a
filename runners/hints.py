"""Hints to the worker that carries a run; each only saves it a look at the database."""

from uuid import UUID

from django.db import transaction

from langbot.lib.redis import FAILURES, quick_client, worker_inbox

_HINT_SECONDS = 60


def hint_worker(node: UUID, kind: str, run_id: UUID) -> None:
    """Tell a worker of one of its runs after the commit: `cancel` or `wake`.

    Never fails: without Redis the worker finds out by itself within seconds.
    """
    transaction.on_commit(lambda: _send(node, kind, run_id), robust=True)


def _send(node: UUID, kind: str, run_id: UUID) -> None:
    key = worker_inbox(node)
    try:
        with quick_client().pipeline() as pipeline:
            pipeline.xadd(key, {kind.encode(): run_id.bytes}, maxlen=1000)
            pipeline.expire(key, _HINT_SECONDS)
            pipeline.execute()
    except FAILURES:
        return
