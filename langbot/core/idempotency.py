"""`Idempotency-Key`: a repeated POST gets the first one's answer for 24 hours.

The key's row is inserted and committed before the work starts, so of two equal
requests one works and the other is told to come back (409). Only answers that
changed something are kept; after a refusal the same key may be tried again. An answer
with a secret (`Cache-Control: no-store`) is kept encrypted.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from langbot.core.access import source_of
from langbot.core.models import IdempotencyKey
from langbot.lib.secrets import SecretUnreadableError, decrypt, encrypt
from langbot.problems import Problem, invalid

HEADER = "Idempotency-Key"
NO_STORE = "no-store"
LIFE = timedelta(hours=24)  # contract
# Work ends long before; an older unanswered row belongs to a process that died.
ABANDONED = timedelta(seconds=60)
_KEY_LENGTH = 200
_KEPT_HEADERS = ("Location", "ETag", "Cache-Control")
_SEALED = "sealed"


class ReplayedError(Exception):
    """The request was answered before; carries that answer."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


@dataclass(frozen=True, slots=True)
class Claim:
    """This process's right to work under a key."""

    row_id: int
    created_at: datetime

    def settle(self, response: Response) -> None:
        """Keep a success for repeats; forget a refusal."""
        mine = IdempotencyKey.objects.filter(pk=self.row_id, created_at=self.created_at)
        if response.status_code >= 400:  # noqa: PLR2004  HTTP's own number
            mine.delete()
            return
        headers = {
            name: response[name] for name in _KEPT_HEADERS if response.has_header(name)
        }
        data = json.loads(JSONRenderer().render(response.data) or b"null")
        answer = {"data": data, "headers": headers}
        if headers.get("Cache-Control") == NO_STORE:
            answer = {_SEALED: encrypt(json.dumps(answer))}
        mine.update(status_code=response.status_code, answer=answer)


def claim(request: Request, body: bytes) -> Claim | None:
    """Return the right to work, or None when the caller sent no key.

    Raises ReplayedError with the stored answer, and Problem for a wrong key, another
    body (422) and a request that is still being worked on (409).
    """
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not 1 <= len(key) <= _KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise invalid({HEADER: [_("Use 1 to 200 printable ASCII characters.")]})
    owner, request_hash = source_of(request), _hash(request, body)
    for _attempt in range(3):
        row = _insert(owner, key, request_hash)
        if row is not None:
            return Claim(row.pk, row.created_at)
        known = IdempotencyKey.objects.filter(owner=owner, key=key).first()
        if known is not None and not _expire(known):
            return _answer_known(known, request_hash)
    raise _busy()


def event_id_of(request: Request) -> str | None:
    """Return the event id that makes admission itself idempotent under the key.

    A process that died between admitting and answering leaves an abandoned key; the
    repeat is then admitted as a duplicate.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return None
    digest = hashlib.sha256(f"{request.path}\n{key}".encode()).hexdigest()
    return f"key:{digest}"


def _hash(request: Request, body: bytes) -> str:
    digest = hashlib.sha256(f"{request.method} {request.get_full_path()}\n".encode())
    digest.update(body)
    return digest.hexdigest()


def _insert(owner: str, key: str, request_hash: str) -> IdempotencyKey | None:
    try:
        with transaction.atomic():
            return IdempotencyKey.objects.create(
                owner=owner, key=key, request_hash=request_hash
            )
    except IntegrityError:
        return None


def _expire(row: IdempotencyKey) -> bool:
    """Remove a row that counts no longer; True when it may be inserted anew."""
    life = ABANDONED if row.status_code is None else LIFE
    if datetime.now(UTC) - row.created_at < life and _is_readable(row):
        return False
    IdempotencyKey.objects.filter(pk=row.pk, created_at=row.created_at).delete()
    return True


def _is_readable(row: IdempotencyKey) -> bool:
    """Whether the answer can be given again; its key may be listed no longer."""
    try:
        if _SEALED in (row.answer or {}):
            decrypt(row.answer[_SEALED])
    except SecretUnreadableError:
        return False
    return True


def _answer_known(row: IdempotencyKey, request_hash: str) -> Claim:
    if row.request_hash != request_hash:
        detail = _("This key was used for another request.")
        raise Problem(422, "idempotency_key_reused", detail)
    if row.status_code is None:
        raise _busy()
    answer = row.answer
    if _SEALED in answer:
        answer = json.loads(decrypt(answer[_SEALED]))
    response = Response(answer["data"], status=row.status_code)
    for name, value in answer["headers"].items():
        response[name] = value
    response["Idempotency-Replayed"] = "true"
    raise ReplayedError(response)


def _busy() -> Problem:
    detail = _("The first request with this key is still being worked on.")
    return Problem(409, "idempotency_in_progress", detail, retry_after=1)


__all__ = ["HEADER", "Claim", "ReplayedError", "claim", "event_id_of"]
