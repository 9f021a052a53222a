"""Gives every request an id that its logs, its answer and its problems carry."""

import re

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

from langbot.lib.ids import uuid7

HEADER = "X-Request-ID"
_ACCEPTABLE = re.compile(r"^[A-Za-z0-9._:-]{1,100}$")


class RequestContextMiddleware:
    """Takes the caller's `X-Request-ID` when it is harmless, else makes one."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response) -> None:  # type: ignore[no-untyped-def]  # Django passes a sync or async callable
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest):  # type: ignore[no-untyped-def]  # sync or async, as above
        if iscoroutinefunction(self.get_response):
            return self._call_async(request)
        request_id = _begin(request)
        return _end(self.get_response(request), request_id)

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        request_id = _begin(request)
        return _end(await self.get_response(request), request_id)


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
