"""Every error of the HTTP API as `application/problem+json` (RFC 9457).

`type` is a stable address per `code`; clients switch on `code`, people read `detail`.
"""

import logging
from http import HTTPStatus
from typing import Any

from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    ValidationError,
)
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.db.models import ProtectedError
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    UnreadablePostError,
)
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from langbot.lib.codes import UNKNOWN, explain
from langbot.lib.conf import conf

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2  # a client may come back soon: failovers and locks are short
_NEEDS_RETRY_AFTER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class Problem(exceptions.APIException):
    """An error with its own status and code; `extra` become members of the document."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: dict[str, Any] | None = None,
        retry_after: int | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail, code)
        self.status_code = int(status)
        self.code = code
        self.errors = errors
        self.retry_after = retry_after
        self.extra = extra or {}


class ProblemResponse(Response):
    """A response whose media type says that it is a problem."""

    @property
    def rendered_content(self) -> Any:
        renderer = getattr(self, "accepted_renderer", None)
        if getattr(renderer, "format", None) == "json":
            self.content_type = MEDIA_TYPE
        return super().rendered_content


def problem_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer any error of an API view; None lets Django report a defect as 500."""
    problem = as_problem(error)
    if problem is None:
        return None
    set_rollback()
    response = ProblemResponse(document(problem), status=problem.status_code)
    challenge = getattr(error, "auth_header", None)
    if challenge:
        response["WWW-Authenticate"] = challenge
    wait = _retry_after(problem)
    if wait is not None:
        response["Retry-After"] = str(wait)
    return response


def document(problem: Problem) -> dict[str, Any]:
    """Return the members of the problem document."""
    content: dict[str, Any] = {
        "type": problem_url(problem.code),
        "title": HTTPStatus(problem.status_code).phrase,
        "status": problem.status_code,
        "detail": str(problem.detail),
        "code": problem.code,
    }
    if problem.errors:
        content["errors"] = problem.errors
    return content | problem.extra


def problem_url(code: str) -> str:
    """Return the stable address of a code."""
    return f"{conf().public_url.rstrip('/')}/problems/{code}"


def as_problem(error: Exception) -> Problem | None:
    """Translate what views raise; None for what nobody expected."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, exceptions.APIException):
        return _from_rest(error)
    if isinstance(error, ValidationError):
        return invalid(_field_errors(error))
    for kinds, status, code, detail in _known():
        if isinstance(error, kinds):
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                logger.warning("request failed: %s", type(error).__name__)
            return Problem(status, code, detail)
    return None


def invalid(errors: dict[str, Any]) -> Problem:
    """Return the 400 that names the fields that are wrong."""
    detail = _("Some fields are not valid.")
    return Problem(HTTPStatus.BAD_REQUEST, "invalid", detail, errors=errors)


def _known() -> list[tuple[tuple[type[Exception], ...], int, str, str]]:
    return [
        ((Http404,), 404, "not_found", _("There is no such object.")),
        ((PermissionDenied,), 403, "permission_denied", _("This is not allowed.")),
        ((RequestDataTooBig,), 413, "too_large", _("The request body is too large.")),
        (
            (SuspiciousOperation, UnreadablePostError),
            400,
            "bad_request",
            _("The request cannot be read."),
        ),
        (
            (ProtectedError, IntegrityError),
            409,
            "conflict",
            _("Another object stands in the way."),
        ),
        ((DataError,), 400, "invalid", _("A value is out of range.")),
        (
            (OperationalError, InterfaceError),
            503,
            "database_unavailable",
            _("The database does not answer; try again soon."),
        ),
    ]


def _from_rest(error: exceptions.APIException) -> Problem:
    if isinstance(error, exceptions.ValidationError):
        detail: Any = error.detail
        fields = detail if isinstance(detail, dict) else {"non_field_errors": detail}
        return invalid(fields)
    code = error.get_codes()
    wait = getattr(error, "wait", None)
    return Problem(
        error.status_code,
        code if isinstance(code, str) else "invalid",
        str(error.detail),
        retry_after=None if wait is None else max(1, round(wait)),
    )


def _field_errors(error: ValidationError) -> dict[str, Any]:
    if hasattr(error, "error_dict"):
        return {
            "non_field_errors" if name == "__all__" else name: messages
            for name, messages in error.message_dict.items()
        }
    return {"non_field_errors": error.messages}


def _retry_after(problem: Problem) -> int | None:
    if problem.retry_after is None and problem.status_code in _NEEDS_RETRY_AFTER:
        return RETRY_SECONDS
    return problem.retry_after


def problem_page(problem: Problem) -> JsonResponse:
    """Return a problem from outside REST framework."""
    response = JsonResponse(
        document(problem), status=problem.status_code, content_type=MEDIA_TYPE
    )
    wait = _retry_after(problem)
    if wait is not None:
        response["Retry-After"] = str(wait)
    return response


def explain_code(request: HttpRequest, code: str) -> HttpResponse:
    """Answer the address that `type` names: what the code means and what to do.

    A page for browsers, plain text for everyone else. A code of a runner's own is 404.
    """
    explanation = explain(code)
    status = HTTPStatus.NOT_FOUND if explanation is UNKNOWN else HTTPStatus.OK
    if "text/html" in request.headers.get("Accept", ""):
        context = {"title": code, "explanation": explanation}
        response = render(request, "langbot/problem.html", context, status=status)
    else:
        text = f"{code}\n{explanation.meaning}\n{explanation.advice}\n"
        kind = "text/plain; charset=utf-8"
        response = HttpResponse(text, content_type=kind, status=status)
    patch_vary_headers(response, ["Accept"])
    return response
