"""Writes every stored secret anew with the newest key; see docs/operations.md.

A row is locked, read and written in one transaction, so whoever saves it meanwhile
comes before or after, and a killed rotation leaves each secret whole under the old key
or the new one. Both stay listed until `forget_old_keys`. Starting again goes on where
it was: what is under the newest key is left alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from cryptography.fernet import InvalidToken
from django.db import transaction

from langbot.core.audit import record_host_act
from langbot.lib.key_ring import Keys, current_keys, fingerprint, new_key, write_keys
from langbot.lib.models import lock_rows
from langbot.lib.sealed import Place, places
from langbot.lib.secrets import cipher

_ROWS_AT_ONCE: Final = 100  # of one transaction: nobody waits long for its locks
_NAMES_AT_MOST: Final = 100


class SecretsLeftError(RuntimeError):
    """Old keys are needed still; the message says for how many secrets."""


@dataclass(slots=True)
class Count:
    """The secrets of one place, each encrypted text counted."""

    newest: int = 0
    older: int = 0
    unreadable: int = 0

    @property
    def total(self) -> int:
        return self.newest + self.older + self.unreadable


@dataclass(slots=True)
class Rotation:
    """What a rotation did, or would do."""

    counts: dict[str, Count] = field(default_factory=dict)
    rewritten: int = 0
    unreadable: list[str] = field(default_factory=list)

    @property
    def older(self) -> int:
        return sum(count.older for count in self.counts.values())


def count_secrets() -> Rotation:
    """Return how many secrets there are and which key reads them; writes nothing."""
    keys, found = current_keys(), Rotation()
    for place in places():
        count = found.counts[place.name] = Count()
        for pk, stored in place.rows().iterator(_ROWS_AT_ONCE):
            for token in place.tokens(stored):
                age = _age(token, keys)
                setattr(count, age, getattr(count, age) + 1)
                if age == "unreadable":
                    found.unreadable.append(f"{place.name} of row {pk}")
    return found


def begin_rotation() -> str:
    """Make the key that encrypts from now on, and return its fingerprint.

    Call it, and what follows, inside `alone`. A rotation that was broken off goes on
    with the key it had. Raises KeyFileError where the keys are not in a file of ours.
    """
    keys = current_keys()
    if count_secrets().older:
        return fingerprint(keys[0])
    keys = (new_key(), *keys)
    write_keys(keys)
    return fingerprint(keys[0])


def rewrite_secrets(actor: str) -> Rotation:
    """Write every secret that is not under the newest key, and say so in the audit log.

    Processes that had read the old keys only may have written with them while this
    looked elsewhere, so it looks again until nothing is left.
    """
    keys, rewritten = current_keys(), 0
    while True:
        written = sum(_rewrite_place(place, keys) for place in places())
        rewritten += written
        if not written:
            break
    found = count_secrets()
    found.rewritten = rewritten
    _record(actor, "rotated secrets", found, keys)
    return found


def forget_old_keys(actor: str) -> int:
    """Drop every key but the newest, and return how many went.

    Raises SecretsLeftError while a secret needs one of them, KeyFileError where the
    keys are not in a file of ours.
    """
    keys, found = current_keys(), count_secrets()
    if found.older:
        message = f"{found.older} secrets are still under older keys: rotate first"
        raise SecretsLeftError(message)
    write_keys(keys[:1])
    _record(actor, "forgot old secret keys", found, keys[:1])
    return len(keys) - 1


def unreadable_names() -> list[str]:
    """Return the stored secrets that no key can read, the first hundred by name."""
    return count_secrets().unreadable[:_NAMES_AT_MOST]


def _rewrite_place(place: Place, keys: Keys) -> int:
    """Rewrite one column; returns how many rows were written."""
    return sum(_rewrite_rows(place, ids, keys) for ids in _stale_rows(place, keys))


def _stale_rows(place: Place, keys: Keys) -> Iterator[list[Any]]:
    last, rows = None, place.rows()
    while True:
        page = rows.filter(pk__gt=last) if last is not None else rows
        batch = list(page[:_ROWS_AT_ONCE])
        if not batch:
            return
        last = batch[-1][0]
        stale = [pk for pk, stored in batch if _is_stale(place, stored, keys)]
        if stale:
            yield stale


@transaction.atomic
def _rewrite_rows(place: Place, ids: list[Any], keys: Keys) -> int:
    lock_rows(place.model._base_manager.filter(pk__in=ids).only("pk"))
    written = 0
    for pk, stored in place.rows().filter(pk__in=ids):
        if _is_stale(place, stored, keys):
            raw = place.rewritten(stored, lambda token: _renewed(token, keys))
            place.write(pk, raw)
            written += 1
    return written


def _is_stale(place: Place, stored: Any, keys: Keys) -> bool:
    """Whether something in it is readable, and not with the newest key."""
    return any(_age(token, keys) == "older" for token in place.tokens(stored))


def _renewed(token: str, keys: Keys) -> str:
    if _age(token, keys) != "older":
        return token
    return cipher(keys).rotate(token.encode()).decode()


def _age(token: str, keys: Keys) -> Literal["newest", "older", "unreadable"]:
    """Return which key reads a secret."""
    if _opens(keys[:1], token):
        return "newest"
    return "older" if _opens(keys, token) else "unreadable"


def _opens(keys: Keys, token: str) -> bool:
    try:
        cipher(keys).decrypt(token.encode())
    except InvalidToken:
        return False
    return True


def _record(actor: str, action: str, found: Rotation, keys: Keys) -> None:
    after = {
        "rewritten": found.rewritten,
        "unreadable": len(found.unreadable),
        "keys": [fingerprint(key) for key in keys],
        "places": {name: count.total for name, count in found.counts.items()},
    }
    record_host_act(actor, action, after)
