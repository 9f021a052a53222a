"""Whether reading a page of history stays as fast when the history grows.

Run as its own process (`python -m benchmarks.history`), on the database that
DATABASE_URL names or on a new SQLite file; prints JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SIZES = (10**3, 10**5, 10**6)
QUICK_SIZES = (10**3, 10**4)
PAGE_LIMIT = 50
_REPEATS = 1000  # of each page at each size; the median counts

# The first item, many times: whatever columns items have.
_FILL = """
    WITH RECURSIVE numbers(n) AS (
        SELECT CAST(%s AS integer) UNION ALL SELECT n + 1 FROM numbers WHERE n < %s
    )
    INSERT INTO {table} ({columns}, public_id, seq)
    SELECT {columns}, {uuid}, n FROM numbers, {table} WHERE id = %s
"""
_UUID = {
    "sqlite": "printf('%%032x', n)",
    "postgresql": "CAST(lpad(to_hex(n), 32, '0') AS uuid)",
}


class GrowingConversation:
    """One conversation in a real database, read by the real service."""

    def __init__(self) -> None:
        from langbot.core.models import Workspace
        from runners.models import Conversation, TranscriptItem

        workspace, _ = Workspace.objects.get_or_create(slug="benchmark-history")
        key = f"history-{time.time_ns()}"
        self._row = Conversation.objects.create(workspace=workspace, key=key)
        text = "one message of many"
        self._first = TranscriptItem.objects.create(
            conversation=self._row,
            seq=1,
            role="user",
            text=text,
            content=[{"type": "text", "text": text}],
        )
        self._size = 1

    def grow_to(self, size: int) -> None:
        """Add items until the conversation has `size`."""
        from django.db import connection

        made = {"id", "public_id", "seq"}
        names = {field.attname for field in self._first._meta.concrete_fields}
        sql = _FILL.format(
            table=self._first._meta.db_table,
            columns=", ".join(sorted(names - made)),
            uuid=_UUID[connection.vendor],
        )
        with connection.cursor() as cursor:
            cursor.execute(sql, [self._size + 1, size, self._first.pk])
            cursor.execute("ANALYZE")
        self._size = size

    def seconds(self, before: int | None) -> float:
        """Return the median time to read the page before `before`."""
        from runners.ledger.history import transcript_page

        times = []
        for _ in range(_REPEATS):
            began = time.perf_counter()
            page = transcript_page(self._row.pk, before=before, limit=PAGE_LIMIT)
            times.append(time.perf_counter() - began)
            assert len(page.items) == PAGE_LIMIT
        return statistics.median(times)

    def remove(self) -> None:
        """Delete the conversation and its items."""
        self._row.delete()


def measure(sizes: Sequence[int]) -> list[dict[str, float]]:
    """Return the median seconds of the newest and of a middle page at each size.

    A page of the smallest size must be full.
    """
    conversation = GrowingConversation()
    found = []
    try:
        for size in sizes:
            conversation.grow_to(size)
            conversation.seconds(None)
            found.append(
                {
                    "size": size,
                    "newest": conversation.seconds(None),
                    "middle": conversation.seconds(size // 2),
                }
            )
    finally:
        conversation.remove()
    return found


def growth(times: Sequence[dict[str, float]]) -> float:
    """Return how many times slower the worst size is than the smallest one."""
    return max(
        item[page] / times[0][page] for item in times for page in ("newest", "middle")
    )


def measure_in_process(deployment: str, *, quick: bool) -> dict[str, Any]:
    """Measure in a process of its own, on the database of the deployment."""
    command = [sys.executable, "-m", "benchmarks.history"]
    command += ["--quick"] if quick else []
    with tempfile.TemporaryDirectory(prefix="langbot-history-") as folder:
        environment = os.environ | {
            "LANGBOT_DATA_DIR": folder,
            "DJANGO_SETTINGS_MODULE": "langbot.settings",
        }
        if deployment == "embedded":
            environment.pop("DATABASE_URL", None)
        done = subprocess.run(
            command,
            check=True,
            cwd=Path(__file__).resolve().parents[1],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
    times = json.loads(done.stdout.splitlines()[-1])
    return {"pages": times, "growth": growth(times)}


def main() -> None:
    """Migrate, measure and print one line of JSON."""
    import django
    from django.core.management import call_command

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    django.setup()
    call_command("migrate", verbosity=0)
    print(json.dumps(measure(QUICK_SIZES if options.quick else SIZES)))


if __name__ == "__main__":
    main()
