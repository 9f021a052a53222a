"""What one test process runs on: its own data folder and its own part of Redis.

Without REDIS_URL the bundled Valkey serves, without DATABASE_URL SQLite; with them the
same tests run on those. The controller of xdist and each of its workers set up their
own; processes that a test starts inherit that of the test.
"""

import os
import shutil
import tempfile
from pathlib import Path

from langbot.valkey import Valkey

OWNER = "LANGBOT_TEST_OWNER"  # which test process set the variables below
GIVEN_REDIS = "LANGBOT_TEST_GIVEN_REDIS"  # REDIS_URL as the person gave it
PREFIX = "LANGBOT_TEST_PREFIX"


class TestEnvironment:
    """Started while settings load, stopped when pytest ends."""

    __test__ = False

    def __init__(self) -> None:
        self.valkey: Valkey | None = None
        self.data_dir: Path | None = None

    def start(self) -> None:
        """Set the variables that `langbot.settings` reads; once per test process."""
        me = os.environ.get("PYTEST_XDIST_WORKER", "main")
        if os.environ.get(OWNER) == me:
            return  # a process that a test started
        given = os.environ.setdefault(GIVEN_REDIS, os.environ.get("REDIS_URL", ""))
        self.data_dir = Path(tempfile.mkdtemp(prefix="langbot-test-"))
        if not given:
            self.valkey = Valkey()
            self.valkey.start()
        os.environ[OWNER] = me
        os.environ["REDIS_URL"] = self.valkey.url if self.valkey else given
        os.environ[PREFIX] = f"test-{me}-{os.getpid()}:"
        os.environ["LANGBOT_DATA_DIR"] = str(self.data_dir)

    def stop(self) -> None:
        """Remove what was made; keys in a Redis of REDIS_URL included."""
        if self.data_dir is None:
            return
        if self.valkey is not None:
            self.valkey.stop()
        else:
            remove_keys(os.environ["REDIS_URL"], os.environ[PREFIX])
        shutil.rmtree(self.data_dir, ignore_errors=True)


def half() -> str:
    """Name the deployment that these tests run on."""
    database = "PostgreSQL" if os.environ.get("DATABASE_URL") else "SQLite"
    redis = "Redis" if os.environ.get(GIVEN_REDIS) else "bundled Valkey"
    return f"{database} + {redis}"


def remove_keys(url: str, prefix: str) -> None:
    import redis

    client = redis.Redis.from_url(url)
    keys = list(client.scan_iter(f"{prefix}*", count=1000))
    if keys:
        client.unlink(*keys)
    client.close()


ENVIRONMENT = TestEnvironment()
