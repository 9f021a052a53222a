"""Errors as OpenAI's clients know them: `{"error": {message, type, param, code}}`."""

from http import HTTPStatus
from typing import Any

RETRY_SECONDS = 2
_SOON = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}


class CallError(Exception):
    """A call that is refused, or whose run failed; `message` is safe to show.

    `retryable` None leaves it to the client, which repeats 408, 409, 429 and 5xx.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retryable: bool | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.param, self.retryable = param, retryable
        self.retry_after = retry_after

    def document(self) -> dict[str, Any]:
        """Return the body of the answer, or of the event that ends a stream."""
        return {
            "error": {
                "message": self.message,
                "type": error_type(self.status),
                "param": self.param,
                "code": self.code,
            }
        }

    def headers(self) -> dict[str, str]:
        """Return what the official clients decide by when and whether to try again."""
        headers = {}
        if self.retryable is not None:
            headers["x-should-retry"] = "true" if self.retryable else "false"
        wait = self.retry_after
        if wait is None and self.status in _SOON:
            wait = RETRY_SECONDS
        if wait is not None:
            headers["Retry-After"] = str(wait)
        return headers


def error_type(status: int) -> str:
    """Return OpenAI's word for a kind of error."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "server_error"
    return _TYPES.get(HTTPStatus(status), "invalid_request_error")


def unsupported(param: str, message: str) -> CallError:
    """Return the refusal of something that only a bare model could do."""
    return CallError(400, "unsupported_parameter", message, param=param)
