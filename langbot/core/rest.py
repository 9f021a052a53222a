"""What every view of the API shares: workspace, strict input, ETag, idempotency."""

import hashlib
import json
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from langbot.core import idempotency
from langbot.core.access import workspace_of
from langbot.core.authentication import HasScope, TokenAuthentication
from langbot.core.guards import HasRight
from langbot.core.models import Workspace
from langbot.core.pagination import CursorPage
from langbot.core.parsing import (
    LenientNegotiation,
    PlainMetadata,
    StrictJSONParser,
    check_not_blank,
    check_storable,
    read_body,
)
from langbot.core.throttling import SCOPE, CallThrottle
from langbot.lib.models import lock_rows
from langbot.lib.rows import shown
from langbot.problems import Problem, problem_handler

Row = TypeVar("Row", bound=Model)

AUTHENTICATION: list[type[BaseAuthentication]] = [
    TokenAuthentication,
    SessionAuthentication,
]


class StrictSerializer(serializers.Serializer[Any]):
    """Names fields that it does not know instead of dropping them."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = {
                str(name): [_("There is no such field.")]
                for name in data.keys() - self.fields.keys()
            }
            if unknown:
                raise serializers.ValidationError(unknown)
        return super().to_internal_value(data)


class _Kept(threading.local):
    """The serializers of one thread by their class."""

    def __init__(self) -> None:
        self.by_class: dict[type[StrictSerializer], StrictSerializer] = {}


_kept = _Kept()


def validate(
    kind: type[StrictSerializer], data: Any, context: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what `kind` makes of `data`; raises its ValidationError.

    REST framework copies all fields of a serializer each time one is made, which takes
    longer than validating. One that only validates can be used again by its thread.
    """
    serializer: Any = _kept.by_class.get(kind)
    if serializer is None:
        serializer = _kept.by_class[kind] = kind()
    serializer._context = context
    try:
        validated: dict[str, Any] = serializer.run_validation(data)
    finally:
        serializer._context = {}
    return validated


class StrictModelSerializer(StrictSerializer, serializers.ModelSerializer[Row]):
    """A model's serializer with the same strictness."""


class ObjectField(serializers.JSONField):
    """A JSON object up to `maximum_bytes` of JSON."""

    default_error_messages = {
        "not_object": gettext_lazy("Enter a JSON object."),
        "too_large": gettext_lazy("This object is too large."),
    }

    def __init__(self, *, maximum_bytes: int = 256 * 1024, **kwargs: Any) -> None:
        self.maximum_bytes = maximum_bytes
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        if not isinstance(value, dict):
            self.fail("not_object")
        if len(json.dumps(value)) > self.maximum_bytes:
            self.fail("too_large")
        return value


class SoundList(serializers.ListSerializer[Any]):
    """Leaves rows out that cannot be shown, so that they do not hide the others."""

    child: serializers.BaseSerializer[Any]

    def to_representation(self, data: Any) -> list[Any]:
        each = (shown(row, partial(self.child.to_representation, row)) for row in data)
        return [one for one in each if one is not None]


class ListSchema(AutoSchema):
    """Documents a list's filters."""

    def get_override_parameters(self) -> list[Any]:
        filters = getattr(self.view, "filter_serializer", None)
        is_list = getattr(self.view, "action", "") == "list"
        return [filters] if is_list and filters is not None else []


class WorkspaceViewSet(GenericViewSet[Row]):
    """Rows of the caller's workspace by public id; those of others do not exist."""

    schema = ListSchema()
    # Named here, because another project has defaults of its own.
    authentication_classes = AUTHENTICATION
    permission_classes = [IsAuthenticated, HasScope, HasRight]
    throttle_classes = [CallThrottle]
    throttle_scope = SCOPE
    parser_classes = [StrictJSONParser]
    content_negotiation_class = LenientNegotiation
    metadata_class = PlainMetadata
    pagination_class = CursorPage
    filter_backends = []
    lookup_field = "public_id"
    lookup_url_kwarg = "id"
    lookup_value_converter = "uuid"
    page_order = "-pk"
    # The path from a row to its workspace.
    workspace_field = "workspace"
    # Says which query parameters a list takes; `filter_rows` applies them.
    filter_serializer: type[serializers.Serializer[Any]] | None = None
    workspace: Workspace | None = None
    _claim: idempotency.Claim | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_storable(dict(request.query_params.lists()))
        self.workspace = workspace_of(request)
        if request.method not in {"GET", "HEAD", "OPTIONS"}:
            body = self.receive(request)
        if request.method == "POST":
            self._claim = idempotency.claim(request, body)

    def receive(self, request: Request) -> bytes:
        """Read what was sent; returns what a repeat under its key must have too."""
        read_body(request._request)
        return request._request.body

    def get_exception_handler(self) -> Any:
        return problem_handler

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, idempotency.ReplayedError):
            return exc.response
        return super().handle_exception(exc)

    def finalize_response(
        self,
        request: Request,
        response: HttpResponseBase,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        if isinstance(response, Response):
            _tag(response)
            if self._claim is not None:
                self._claim.settle(response)
            response = self.after_answer(request, response)
        if _is_unchanged(request, response):
            response = Response(status=304, headers={"ETag": response["ETag"]})
        final: Any = response  # a stream is no `Response`, and passes all the same
        return super().finalize_response(request, final, *args, **kwargs)

    def after_answer(self, request: Request, response: Response) -> HttpResponseBase:
        """Change a finished answer, replayed ones included."""
        return response

    def get_queryset(self) -> QuerySet[Row]:
        rows = super().get_queryset()
        if self.workspace is None:
            return rows.none()
        return rows.filter(**{self.workspace_field: self.workspace})

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        if not kwargs.pop("many", False):
            return super().get_serializer(*args, **kwargs)
        child = super().get_serializer(**kwargs)
        page = args[0] if args else None
        return SoundList(page, child=child, context=child.context)

    def filter_queryset(self, queryset: Any) -> Any:
        if self.filter_serializer is None or self.detail:
            return queryset
        check_not_blank(self.request, self.filter_serializer().fields)
        given = self.filter_serializer(
            data=self.request.query_params,
            partial=True,
            context=self.get_serializer_context(),
        )
        given.is_valid(raise_exception=True)
        return self.filter_rows(queryset, given.validated_data)

    def filter_rows(
        self, queryset: QuerySet[Row], given: dict[str, Any]
    ) -> QuerySet[Row]:
        """Narrow a list by the validated query parameters."""
        return queryset.filter(**given)

    def required_workspace(self) -> Workspace:
        """Return the caller's workspace; 403 for people who belong to none."""
        if self.workspace is None:
            raise PermissionDenied(_("You belong to no workspace."))
        return self.workspace

    def lock_object(self) -> Row:
        """Return the object, locked and as `If-Match` wants it; in a transaction."""
        row = self.get_object()
        locked = lock_rows(self.get_queryset().filter(pk=row.pk))
        if not locked:
            raise Http404  # deleted since
        self.check_if_match(locked[0])
        return locked[0]

    def check_if_match(self, row: Row) -> None:
        """Raise 412 when the caller saw another state of the object."""
        wanted = self.request.headers.get("If-Match")
        if wanted is None or wanted.strip() == "*":
            return
        current = etag_of(self.get_serializer(row).data)
        if current not in [tag.strip() for tag in wanted.split(",")]:
            detail = _("The object has changed since it was read.")
            raise Problem(412, "precondition_failed", detail)

    def change(self, *, partial: bool) -> Response:
        """Validate and save the object under its lock."""
        with transaction.atomic():
            row = self.lock_object()
            serializer = self.get_serializer(
                row, data=self.request.data, partial=partial
            )
            serializer.is_valid(raise_exception=True)
            saved = serializer.save()
        # Not `serializer.data`: a partial one leaves out members that are null.
        return Response(self.get_serializer(saved).data)

    def listing(self, rows: QuerySet[Any], **context: Any) -> Response:
        """Answer a page of `rows`."""
        page = self.paginate_queryset(rows)
        serializer = self.get_serializer(page, many=True, **context)
        return self.get_paginated_response(serializer.data)


def json_object(data: Any) -> dict[str, Any]:
    """Return what was sent, which has to be a JSON object; 400 for anything else."""
    if not isinstance(data, dict):
        raise serializers.ValidationError([_("Enter a JSON object.")])
    return data


def etag_of(data: Any) -> str:
    """Return the strong tag of a representation."""
    return f'"{hashlib.sha256(JSONRenderer().render(data)).hexdigest()[:32]}"'


def _tag(response: Response) -> None:
    is_object = isinstance(response.data, dict) and "id" in response.data
    if is_object and response.status_code < 300 and not response.has_header("ETag"):  # noqa: PLR2004  HTTP's own number
        response["ETag"] = etag_of(response.data)


def _is_unchanged(request: HttpRequest | Request, response: HttpResponseBase) -> bool:
    tags = request.headers.get("If-None-Match", "")
    return (
        request.method == "GET"
        and response.has_header("ETag")
        and response["ETag"] in [tag.strip() for tag in tags.split(",")]
    )
