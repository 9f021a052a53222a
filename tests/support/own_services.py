"""A database and a part of Redis for one host, beside those of the test process."""

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from langbot.valkey import Valkey
from tests.environment import GIVEN_REDIS, OWNER, PREFIX, remove_keys

_numbers = itertools.count(1)


@contextmanager
def own_services(data_dir: Path) -> Iterator[dict[str, str]]:
    """Yield the variables of a host with its own data; all of it goes afterwards."""
    name = f"langbot_host_{os.getpid()}_{next(_numbers)}"
    with ExitStack() as stack:
        yield {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            OWNER: os.environ.get("PYTEST_XDIST_WORKER", "main"),
            "LANGBOT_DATA_DIR": str(data_dir),
            "DATABASE_URL": stack.enter_context(own_database(name)),
            "REDIS_URL": stack.enter_context(own_redis(f"{name}:")),
            PREFIX: f"{name}:",
        }


@contextmanager
def own_database(name: str) -> Iterator[str]:
    """Yield the URL of a new PostgreSQL database, or "" for SQLite in the data dir."""
    given = os.environ.get("DATABASE_URL", "")
    if not given.startswith("postgres"):
        yield ""
        return
    _administer(given, f'CREATE DATABASE "{name}"')
    try:
        yield urlunsplit(urlsplit(given)._replace(path=f"/{name}"))
    finally:
        _administer(given, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _administer(url: str, statement: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


@contextmanager
def own_redis(prefix: str) -> Iterator[str]:
    """Yield the URL of a new bundled Valkey, or the REDIS_URL that was given."""
    given = os.environ.get(GIVEN_REDIS, "")
    if not given:
        with Valkey() as valkey:
            yield valkey.url
        return
    try:
        yield given
    finally:
        remove_keys(given, prefix)
