"""Celery's worker with our options: what `worker` processes run.

The `celery` command loads the shells of its other commands and runs Django's checks,
which load every page of the web: a fifth of the memory that a worker then keeps.
`firstrun` and `checklangbot` run the checks.
"""

import argparse
import os
import sys
from collections.abc import Sequence

QUEUES = "runs,ops"
THREADS = 4  # tasks only hand rows over, so few are enough


def main(argv: Sequence[str] | None = None) -> int:
    """Work until SIGTERM; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m langbot.worker")
    parser.add_argument("--queues", default=QUEUES, help="runs, ops or both")
    parser.add_argument("--threads", type=int, default=THREADS)
    options = parser.parse_args(argv)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "langbot.worker_settings")
    os.environ["CELERY_SKIP_CHECKS"] = "true"  # what `celery --skip-checks` does
    from langbot.celery import app  # it reads the settings, which `--help` needs not

    worker = app.Worker(
        pool_cls="threads",
        concurrency=options.threads,
        queues=options.queues,
        quiet=True,
        # Workers meet in the database: they need not know each other by Celery.
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main())
