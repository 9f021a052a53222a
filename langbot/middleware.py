"""Gives every request an id that its logs, its answer and its problems carry."""

import re
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponseBase

from langbot.lib.ids import uuid7

GetResponse = Callable[[HttpRequest], HttpResponseBase]

HEADER = "X-Request-ID"
_ACCEPTABLE = re.compile(r"^[A-Za-z0-9._:-]{1,100}$")


class RequestContextMiddleware:
    """Takes the caller's `X-Request-ID` when it is harmless, else makes one.

    Sync only and innermost on purpose: Django then runs the whole chain and the view
    on one thread, where an async one would hop threads twice per middleware.
    """

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = _begin(request)
        return _end(self.get_response(request), request_id)


def _begin(request: HttpRequest) -> str:
    given = request.headers.get(HEADER, "")
    request_id = given if _ACCEPTABLE.match(given) else str(uuid7())
    request.META["langbot.request_id"] = request_id
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id)
    return request_id


def _end(response: HttpResponseBase, request_id: str) -> HttpResponseBase:
    response.headers[HEADER] = request_id
    return response
