"""Reading and writing runner state; every write is an upsert with a version."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

from django.db import connection
from django.db.models import CharField, Q, QuerySet
from django.db.models.functions import Now
from pydantic_core import to_json

from langbot.lib.conf import limits
from langbot.lib.cursors import execute_write
from langbot.lib.prepared import PreparedQuery
from runners.ledger.scopes import SCOPES
from runners.ledger.state import RunnerState
from runners.protocol.results import is_finite

MAXIMUM_KEY = 200
MAXIMUM_KEYS = 1000  # of one scope key
INLINE_BYTES = 2**20  # what a context carries; a frame has room for 16 of it
_SHORT_NAMES = {"conversation_id": "external.conversation_id"}  # LB-77
_PAGE = 50  # of the largest values: 12.5 MiB in memory


@dataclass(frozen=True, slots=True)
class StateWrite:
    """One value on its way into the store."""

    workspace_id: int
    runner_id: str
    scope: str
    scope_key: str
    key: str
    value: Any


class StateRefusedError(ValueError):
    """The key or the value is not acceptable; the message is safe to show."""


def check_value(key: Any, value: Any) -> str:
    """Return the key; raises StateRefusedError for a bad key or over 256 KiB."""
    if not isinstance(key, str) or not 0 < len(key) <= MAXIMUM_KEY:
        message = f"a state key has 1 to {MAXIMUM_KEY} characters"
        raise StateRefusedError(message)
    check_size(value)
    return key


def check_size(value: Any) -> None:
    """Raise StateRefusedError for a value over 256 KiB or with no finite number."""
    if not is_finite(value):
        message = "a state value has finite numbers only"
        raise StateRefusedError(message)
    size = len(to_json(value))
    if size > limits().state_value_bytes:
        message = f"a state value has at most {limits().state_value_bytes} bytes"
        raise StateRefusedError(message)


def read_state(scope_key: str, key: str) -> Any:
    """Return the value, or None."""
    row = _value_of.first(scope_key, key)
    return row[0] if row is not None else None


def stored_key(key: str) -> str:
    """Return the key under which a runner's key is kept: some have a short name."""
    return _SHORT_NAMES.get(key, key)


def read_states(keys: Mapping[str, str], scopes: Iterable[str]) -> dict[str, Any]:
    """Return {scope: {key: value}} for the context of a run, at most 1 MiB of it.

    Values are taken in key order; state_get and state_list reach the others.
    """
    wanted = {keys[scope]: scope for scope in scopes if scope in keys}
    found: dict[str, Any] = {scope: {} for scope in scopes}
    left = INLINE_BYTES
    for scope_key, key, value in _in_key_order(list(wanted)):
        left -= len(to_json(key)) + len(to_json(value))
        if left < 0:
            break
        found[wanted[scope_key]][key] = value
    return found


def _in_key_order(scope_keys: list[str]) -> Iterator[tuple[str, str, Any]]:
    if not scope_keys:
        return
    places = [*scope_keys, *[scope_keys[-1]] * (len(SCOPES) - len(scope_keys))]
    page = _first_values(*places)
    yield from page
    for start in count(_PAGE, _PAGE):
        if len(page) < _PAGE:
            return
        page = list(_values_of(scope_keys)[start : start + _PAGE])
        yield from page


def list_keys(scope_key: str, prefix: str, limit: int) -> tuple[list[str], bool]:
    """Return up to `limit` keys in order, and whether there are more."""
    rows = _current().filter(scope_key=scope_key, key__startswith=prefix)
    keys = list(rows.order_by("key").values_list("key", flat=True)[: limit + 1])
    return keys[:limit], len(keys) > limit


def write_state(write: StateWrite) -> None:
    """Insert or replace a value, raising its version.

    Raises StateRefusedError for a new key where there are 1,000; nothing is written
    then. Writers that race may exceed that by as many as they are.
    """
    values: list[Any] = [
        write.workspace_id,
        write.runner_id,
        write.scope,
        write.scope_key,
        write.key,
        connection.ops.adapt_json_value(write.value, None),
        connection.ops.adapt_datetimefield_value(datetime.now(UTC)),
        write.scope_key,
        write.key,
        write.scope_key,
        MAXIMUM_KEYS,
    ]
    if not execute_write(connection, _writing(), values):
        message = f"{write.scope} state has at most {MAXIMUM_KEYS} keys"
        raise StateRefusedError(message)


def _writing() -> str:
    table = connection.ops.quote_name(RunnerState._meta.db_table)
    return f"""
        INSERT INTO {table} (workspace_id, runner_id, scope, scope_key, key, value,
            version, expires_at, updated_at)
        SELECT %s, %s, %s, %s, %s, %s, 1, NULL, %s
        WHERE EXISTS (SELECT 1 FROM {table} WHERE scope_key = %s AND key = %s)
           OR (SELECT COUNT(*) FROM {table} WHERE scope_key = %s) < %s
        ON CONFLICT (scope_key, key) DO UPDATE SET value = excluded.value,
            version = {table}.version + 1, expires_at = NULL,
            updated_at = excluded.updated_at
    """  # noqa: S608  only the name of our own table is interpolated


def delete_state(scope_key: str, key: str) -> bool:
    """Remove a value; False when there was none."""
    return RunnerState.objects.filter(scope_key=scope_key, key=key).delete()[0] > 0


def _current() -> QuerySet[RunnerState]:
    return RunnerState.objects.filter(Q(expires_at=None) | Q(expires_at__gt=Now()))


def _values_of(scope_keys: Sequence[Any]) -> QuerySet[RunnerState, tuple[Any, ...]]:
    rows = _current().filter(scope_key__in=scope_keys).order_by("scope_key", "key")
    return rows.values_list("scope_key", "key", "value")


_value_of = PreparedQuery(
    lambda scope_key, key: (
        _current().filter(scope_key=scope_key, key=key).values_list("value")
    ),
    CharField(),
    CharField(),
)
_first_values = PreparedQuery(
    lambda *scope_keys: _values_of(scope_keys)[:_PAGE],
    *[CharField() for _ in SCOPES],
)
