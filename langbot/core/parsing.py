"""Reading JSON bodies strictly: what gets through can be stored by every database."""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.metadata import BaseMetadata
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from langbot.problems import invalid

MAXIMUM_DEPTH = 64  # nested deeper, recursive code would run out of stack
# PostgreSQL stores neither NUL nor lone surrogates in text.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class StrictJSONParser(BaseParser):
    """Refuses NaN, infinities, NUL, lone surrogates and absurd nesting with a 400."""

    media_type = "application/json"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Any = None
    ) -> Any:
        try:
            value = json.loads(
                stream.read().decode("utf-8"),
                parse_constant=_refuse_constant,
                parse_float=_finite,
            )
        except (ValueError, RecursionError) as error:
            # A ValueError's text may quote the body; its position is enough.
            place = f" ({error.msg})" if isinstance(error, json.JSONDecodeError) else ""
            raise ParseError(_("The body is not valid JSON.") + place) from None
        check_storable(value)
        return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def check_storable(value: Any) -> None:
    """Raise ParseError for text or nesting that no database would keep."""
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, str):
            if _UNSTORABLE.search(item):
                raise ParseError(_("Text may hold no NUL and no lone surrogate."))
        elif isinstance(item, dict | list):
            if depth == MAXIMUM_DEPTH:
                raise ParseError(_("The body is nested too deeply."))
            parts = [*item, *item.values()] if isinstance(item, dict) else item
            waiting.extend((part, depth + 1) for part in parts)


def check_not_blank(request: Request, names: Iterable[str]) -> None:
    """Raise a 400 for `?name=`, which REST framework would take for no filter."""
    blank = [name for name in names if "" in request.query_params.getlist(name)]
    if blank:
        raise invalid({name: [_("This may not be blank.")] for name in blank})


def read_body(request: HttpRequest) -> None:
    """Read the body once, up to the limit; raises RequestDataTooBig.

    REST framework takes a body without Content-Length for none and never looks at the
    limit of one that it parses itself.
    """
    maximum = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
    if hasattr(request, "_body"):
        return
    body = request.read(maximum + 1)
    if len(body) > maximum:
        message = "the request body is over DATA_UPLOAD_MAX_MEMORY_SIZE"
        raise RequestDataTooBig(message)
    request._body = body  # what `request.body` returns
    request.META["CONTENT_LENGTH"] = str(len(body))


class LenientNegotiation(DefaultContentNegotiation):
    """Answers JSON where `Accept` names nothing we have."""

    def select_renderer(
        self,
        request: Request,
        renderers: Any,
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        for accept in self.get_accept_list(request):
            kind = accept.partition(";")[0].strip()
            for renderer in renderers:
                if kind == renderer.media_type:
                    return renderer, renderer.media_type
        return JSONRenderer(), "application/json"


class PlainMetadata(BaseMetadata):
    """What OPTIONS answers; the fields are in the OpenAPI document."""

    def determine_metadata(self, request: Request, view: Any) -> dict[str, Any]:
        """Return what the view is; the methods are in `Allow`."""
        return {
            "name": view.get_view_name(),
            "description": view.get_view_description(),
        }
