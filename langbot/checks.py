"""Misconfiguration that Django's check framework reports, each with an id and a hint.

E001 belongs to `langbot.lib.fields`. Ids are never reused; `docs/operations.md` lists
them.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

from celery import current_app
from cryptography.fernet import Fernet
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from pydantic import ValidationError

from langbot.lib.conf import HostSettings, conf
from langbot.lib.key_ring import current_keys
from langbot.lib.redis import FAILURES, quick_client

TAG = "langbot"  # `manage.py check --tag langbot`
SEAL_WITHIN = timedelta(hours=1)  # a worker does it every minute
REDIS_SCHEMES = ("redis://", "rediss://", "unix://")
# Packages of our name, and the distributions known to bring another one.
RIVALS = {"agents": "openai-agents", "langbot": "langbot"}
OURS = "langbot-django"


def _settings() -> HostSettings | None:
    try:
        return conf()
    except ValidationError:
        return None  # E002 says why


@register(TAG)
def check_settings(**_: Any) -> list[CheckMessage]:
    """E002: an unknown setting, a wrong value, or limits out of order."""
    try:
        conf()
    except ValidationError as error:
        return [_settings_error(issue["loc"], issue["msg"]) for issue in error.errors()]
    return []


def _settings_error(location: tuple[int | str, ...], problem: str) -> Error:
    name = ".".join(map(str, location)).upper()
    hint = "See docs/settings.md for the names and the order of limits."
    return Error(f"LANGBOT[{name!r}]: {problem}", hint=hint, id="langbot.E002")


@register(TAG)
def check_secret_keys(**_: Any) -> list[CheckMessage]:
    """E003: secrets could not be stored or read."""
    host = _settings()
    if host is None:
        return []
    hint = "Make one with cryptography.fernet.Fernet.generate_key()."
    keys = current_keys()
    if not keys:
        return [Error("LANGBOT['SECRET_KEYS'] is empty.", hint=hint, id="langbot.E003")]
    if not all(map(_is_fernet_key, keys)):
        message = "LANGBOT['SECRET_KEYS'] holds something that is not a Fernet key."
        return [Error(message, hint=hint, id="langbot.E003")]
    return []


def _is_fernet_key(key: str) -> bool:
    try:
        Fernet(key)
    except ValueError:
        return False
    return True


@register(TAG)
def check_redis_url(**_: Any) -> list[CheckMessage]:
    """E004: an address that no Redis client takes."""
    host = _settings()
    if host is None or host.redis_url.startswith(REDIS_SCHEMES):
        return []
    hint = "Use redis://host:port/db, rediss://… or unix:///path?db=0."
    message = "LANGBOT['REDIS_URL'] is not a Redis address."
    return [Error(message, hint=hint, id="langbot.E004")]


@register(TAG)
def check_data_dir(**_: Any) -> list[CheckMessage]:
    """E005: artifacts and logs could not be written."""
    host = _settings()
    if host is None:
        return []
    folder = host.data_dir.absolute()
    while not folder.exists():
        folder = folder.parent  # it is made on first use
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return []
    message = f"The data folder {host.data_dir} cannot be written."
    hint = "Set LANGBOT_DATA_DIR to a folder of the user that runs this."
    return [Error(message, hint=hint, id="langbot.E005")]


@register(TAG)
def check_rival_packages(**_: Any) -> list[CheckMessage]:
    """W001: another package has the name of one of ours."""
    hint = "Use an environment of its own for this project, or uninstall the other."
    return [
        Warning(
            f"Another package called {name!r} is installed: {where}.",
            hint=hint,
            id="langbot.W001",
        )
        for name in RIVALS
        for where in sorted(set(_rivals(name)))
    ]


def _rivals(name: str) -> Iterator[str]:
    spec = importlib.util.find_spec(name)
    ours = Path(spec.origin).parent if spec and spec.origin else None
    for entry in sys.path:
        other = Path(entry or ".", name)
        if (other / "__init__.py").exists() and other.resolve() != ours:
            yield _owner(name, other)
    try:  # its files may lie between ours, in the same folder
        metadata.distribution(RIVALS[name])
    except metadata.PackageNotFoundError:
        return
    yield RIVALS[name]


def _owner(name: str, folder: Path) -> str:
    """Return the distributions that bring the package, ours left out, or its folder."""
    owners = set(metadata.packages_distributions().get(name, [])) - {OURS}
    return ", ".join(sorted(owners)) or str(folder)


@register(TAG)
def check_sqlite_options(**_: Any) -> list[CheckMessage]:
    """W007: concurrent writers would meet "database is locked"."""
    database = connections[DEFAULT_DB_ALIAS]
    options = database.settings_dict["OPTIONS"]
    if database.vendor != "sqlite" or options.get("transaction_mode") == "IMMEDIATE":
        return []
    message = "SQLite's transactions are not IMMEDIATE: writers will be refused."
    hint = "Make DATABASES['default'] with langbot.lib.databases.sqlite_database()."
    return [Warning(message, hint=hint, id="langbot.W007")]


@register(TAG)
def check_celery_app(**_: Any) -> list[CheckMessage]:
    """W008: nobody is woken, so runs start up to 2 seconds late."""
    host = _settings()
    if host is None or host.celery_app or current_app.main != "default":
        return []
    message = "The project has no Celery app, so runs are found by polling only."
    hint = (
        "Import it in the project's __init__.py, or name it in LANGBOT['CELERY_APP']."
    )
    return [Warning(message, hint=hint, id="langbot.W008")]


@register(TAG, deploy=True)
def check_public_url(**_: Any) -> list[CheckMessage]:
    """W002: people would send passwords and tokens in the clear."""
    host = _settings()
    if host is None or host.public_url.startswith("https://"):
        return []
    message = "LANGBOT['PUBLIC_URL'] is not https."
    hint = "Set LANGBOT_PUBLIC_URL to the address people use, and LANGBOT_HTTPS=true."
    return [Warning(message, hint=hint, id="langbot.W002")]


@register(TAG, deploy=True)
def check_database_for_deployment(**_: Any) -> list[CheckMessage]:
    """W003: SQLite has one writer and one machine."""
    if connections[DEFAULT_DB_ALIAS].vendor != "sqlite":
        return []
    message = "The database is SQLite: one machine, one writer at a time."
    hint = "Set DATABASE_URL to PostgreSQL for more than one machine."
    return [Warning(message, hint=hint, id="langbot.W003")]


@register(TAG, deploy=True)
def check_outbound(**_: Any) -> list[CheckMessage]:
    """W004: the guard against calls into the private network is off."""
    host = _settings()
    wide = {"0.0.0.0/0", "::/0", "*"} & set(host.outbound_allow if host else [])
    if not wide:
        return []
    message = f"LANGBOT['OUTBOUND_ALLOW'] allows every address: {sorted(wide)}."
    hint = "Name the private hosts that agents may call."
    return [Warning(message, hint=hint, id="langbot.W004")]


def live_checks() -> list[CheckMessage]:
    """Check what only runs.

    E006 Redis, E007 the database, W005 its migrations, E008 the audit log's chain,
    W006 entries that nobody seals, E009 secrets that no key can read, W009 mail.
    """
    found: list[CheckMessage] = []
    try:
        quick_client().ping()
    except FAILURES as error:
        hint = "Start it, or set REDIS_URL; runlangbot starts the bundled one."
        message = f"Redis does not answer: {type(error).__name__}."
        found.append(Error(message, hint=hint, id="langbot.E006"))
    try:
        waiting = unapplied_migrations()
    except DatabaseError as error:
        message = f"The database does not answer: {type(error).__name__}."
        found.append(Error(message, hint="See DATABASE_URL.", id="langbot.E007"))
    else:
        if waiting:
            message = f"{waiting} migrations wait."
            hint = "Run manage.py migrate."
            found.append(Warning(message, hint=hint, id="langbot.W005"))
        else:
            found += audit_checks()
            found += secret_checks()
            found += mail_checks()
    return found


def mail_checks() -> list[CheckMessage]:
    """W009: people want to be told by mail, and none can leave."""
    from langbot.core.notices import NotificationPreference
    from langbot.core.notifications import is_configured

    if is_configured() or not NotificationPreference.objects.exists():
        return []
    message = "No mail is set up: people who want notifications get none."
    hint = "Set EMAIL_HOST and DEFAULT_FROM_EMAIL (docs/operations.md)."
    return [Warning(message, hint=hint, id="langbot.W009")]


def secret_checks() -> list[CheckMessage]:
    """E009: a stored secret that no key can read; each is named."""
    from langbot.core import rotation  # models, and this module registers checks

    if not current_keys():
        return []  # E003 says so
    hint = "Enter it again, or list the key that wrote it (docs/operations.md)."
    return [
        Error(f"{name} cannot be decrypted.", hint=hint, id="langbot.E009")
        for name in rotation.unreadable_names()
    ]


def audit_checks() -> list[CheckMessage]:
    """Verify every chain of the audit log; the first broken entry of each is named."""
    from langbot.core import audit_chain  # a model, and this module registers checks

    found: list[CheckMessage] = [
        Error(
            f"The audit log was tampered with: {broken}.",
            hint="Compare it with a backup and with the hashes in the logs.",
            id="langbot.E008",
        )
        for broken in audit_chain.find_breaks()
    ]
    waiting = audit_chain.unsealed_before(datetime.now(UTC) - SEAL_WITHIN)
    if waiting:
        message = f"{waiting} audit entries are not sealed."
        hint = "Workers seal every minute; is one running?"
        found.append(Warning(message, hint=hint, id="langbot.W006"))
    return found


def unapplied_migrations() -> int:
    """Return how many migrations wait; raises DatabaseError."""
    executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
