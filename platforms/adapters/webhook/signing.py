"""Standard Webhooks signatures: HMAC-SHA256 over `id.timestamp.body`."""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping

from platforms.adapters.base import AdapterError

TOLERANCE_SECONDS = 300  # of the sender's clock, either way
_SECRET_PREFIX = "whsec_"  # noqa: S105 - the mark of a base64 secret, not a secret
_MAXIMUM_ID = 256


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def signed_headers(secret: str, message_id: str, body: bytes) -> dict[str, str]:
    """Return the three headers for a message that leaves now."""
    timestamp = int(time.time())
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, message_id, timestamp, body),
    }


def verified_id(secret: str, headers: Mapping[str, str], body: bytes) -> str:
    """Return the id of a call whose signature holds; raises AdapterError.

    Several space-separated signatures may be given while a secret is rotated.
    """
    message_id = headers.get("webhook-id", "")
    timestamp = _timestamp(headers.get("webhook-timestamp", ""))
    given = headers.get("webhook-signature", "").split()
    if not message_id or len(message_id) > _MAXIMUM_ID or timestamp is None:
        raise _refused("webhook-id and webhook-timestamp are required")
    if abs(time.time() - timestamp) > TOLERANCE_SECONDS:
        raise _refused("webhook-timestamp is more than five minutes off")
    if not secret:
        raise _refused("this bot has no secret yet")
    expected = signature(secret, message_id, timestamp, body).encode()
    matches = [hmac.compare_digest(expected, one.encode()) for one in given]
    if not any(matches):
        raise _refused("webhook-signature does not match")
    return message_id


def _key(secret: str) -> bytes:
    if secret.startswith(_SECRET_PREFIX):
        try:
            encoded = secret.removeprefix(_SECRET_PREFIX)
            return base64.b64decode(encoded, validate=True)
        except binascii.Error:
            pass  # then the whole text is the secret
    return secret.encode()


def _timestamp(value: str) -> int | None:
    # Only ASCII digits: int() would also take signs, blanks and other digits.
    if value.isascii() and value.isdigit() and len(value) <= 15:  # noqa: PLR2004 - far beyond any date
        return int(value)
    return None


def _refused(message: str) -> AdapterError:
    return AdapterError(message, permanent=True, code="signature_invalid")
