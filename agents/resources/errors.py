"""How a model call fails."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from runners.protocol.errors import ProtocolError


class ModelErrorCode(StrEnum):
    """Codes that runners may branch on, to fall back to another model."""

    TIMEOUT = "model.timeout"
    UNAUTHORIZED = "model.unauthorized"
    RATE_LIMITED = "model.rate_limited"
    QUOTA_EXCEEDED = "model.quota_exceeded"
    UNAVAILABLE = "model.unavailable"
    BAD_REQUEST = "model.bad_request"
    BAD_RESPONSE = "model.bad_response"
    NOT_FOUND = "model.not_found"
    ADDRESS_REFUSED = "model.address_refused"


RETRYABLE = frozenset(
    {ModelErrorCode.TIMEOUT, ModelErrorCode.RATE_LIMITED, ModelErrorCode.UNAVAILABLE}
)


class ModelError(ProtocolError):
    """A model call failed; the message names the provider, never its key."""

    def __init__(
        self,
        code: ModelErrorCode,
        message: str,
        *,
        retryable: bool | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        advice = code in RETRYABLE if retryable is None else retryable
        super().__init__(code, message, retryable=advice, details=details)


__all__ = ["ModelError", "ModelErrorCode"]
