"""The two database set-ups the host is measured on."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

# WAL lets readers go on while the one writer commits; NORMAL may lose the last
# commits on power loss, never on a crash of ours. IMMEDIATE takes the write lock at
# BEGIN: without it six processes met 139 "database is locked" (dependencies, 4.1).
_PRAGMAS = (
    "PRAGMA journal_mode=WAL;"
    "PRAGMA synchronous=NORMAL;"
    "PRAGMA temp_store=MEMORY;"
    "PRAGMA cache_size=-8000;"
    "PRAGMA mmap_size=67108864;"
)
_PREPARE_AFTER = 3  # executions on one connection
# A process that is suspended in a transaction keeps its row locks. Longer than the
# lease of a worker (6 s), since who is cut off has lost its runs already, and short
# enough for them to be adopted, or ended, within 15 s more.
IDLE_IN_TRANSACTION_SECONDS = 10
# What the tables fit into is memory or a solid-state disk, where a page is found about
# as fast as the next one is read. PostgreSQL's 4 is for spinning disks: a connection
# that prepares while the tables are new then plans to read them whole, and keeps to it
# until statistics come, when they are full of rows.
_RANDOM_PAGE_COST = 1.1


def sqlite_database(path: Path) -> dict[str, Any]:
    """Return Django's settings for the embedded database; needs a local disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return {
        "ENGINE": "langbot.lib.sqlite",
        "NAME": path,
        "CONN_MAX_AGE": None,  # its threads are kept, so its connections are too
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": _PRAGMAS,
        },
        "TEST": {"NAME": path.with_name("test.sqlite3")},
    }


def database_from_url(url: str, *, pool_size: int = 20) -> dict[str, Any]:
    """Return Django's settings for `postgresql://user:password@host:port/name`.

    Query parameters become connection options. Raises ImproperlyConfigured.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return sqlite_database(Path(unquote(parts.path)))
    if parts.scheme not in {"postgres", "postgresql"}:
        message = "DATABASE_URL must start with postgresql:// or sqlite://"
        raise ImproperlyConfigured(message)
    given = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": 0,  # the pool keeps connections; the two exclude each other
        "OPTIONS": {
            "pool": {"min_size": 0, "max_size": pool_size, "timeout": 20},
            **_session_options(given),
            **given,
        },
    }


def _session_options(given: dict[str, str]) -> dict[str, Any]:
    """Let the server plan a statement once a connection, not at each execution.

    And let it end sessions that do nothing in a transaction. `prepared_statements=0`
    is for poolers that keep nothing of a session; `options` of one's own replace ours.
    """
    if given.pop("prepared_statements", "1") == "0":
        return {}
    options = {
        "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS}s",
        "random_page_cost": _RANDOM_PAGE_COST,
    }
    return {
        "server_side_binding": True,
        "prepare_threshold": _PREPARE_AFTER,
        "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
    }
