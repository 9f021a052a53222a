"""REST for tokens: one's own, and those of service accounts."""

from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from langbot.core.access import author_of
from langbot.core.api.serializers import (
    NewTokenSerializer,
    TokenLabelSerializer,
    TokenSerializer,
)
from langbot.core.idempotency import NO_STORE
from langbot.core.models import ApiToken
from langbot.core.rest import WorkspaceViewSet
from langbot.core.tokens import issue_api_token, rename_api_token, revoke_api_token
from langbot.problems import invalid


class TokenFilters(serializers.Serializer[Any]):
    label: Any = serializers.CharField(required=False, max_length=100)
    revoked = serializers.BooleanField(required=False, allow_null=True, default=None)


class TokenViewSet(
    mixins.RetrieveModelMixin, mixins.ListModelMixin, WorkspaceViewSet[ApiToken]
):
    """The caller's own tokens of this workspace; what one grants is fixed."""

    queryset = ApiToken.objects.select_related("workspace")
    serializer_class = TokenSerializer
    filter_serializer = TokenFilters
    # One's own tokens need no right; they can do no more than their user.
    rights: dict[str, tuple[str, ...]] = dict.fromkeys(
        ("GET", "POST", "PATCH", "DELETE"), ()
    )
    orderings = {"label": "label", "created_at": "created_at"}

    def get_queryset(self) -> QuerySet[ApiToken]:
        return super().get_queryset().filter(user=self.request.user.pk)

    def filter_rows(
        self, queryset: QuerySet[ApiToken], given: dict[str, Any]
    ) -> QuerySet[ApiToken]:
        if "label" in given:
            queryset = queryset.filter(label=given["label"])
        if given.get("revoked") is not None:
            queryset = queryset.filter(revoked_at__isnull=not given["revoked"])
        return queryset

    @extend_schema(request=TokenSerializer, responses={201: NewTokenSerializer})
    def create(self, request: Request) -> Response:
        """Make a token; `token` is its plain text, in this answer only."""
        return self.make_token(request, request.user)

    @extend_schema(request=TokenLabelSerializer)
    def partial_update(self, request: Request, id: UUID) -> Response:
        """Rename a token."""
        with transaction.atomic():
            token = self.lock_object()
            given = TokenLabelSerializer(token, data=request.data, partial=True)
            given.is_valid(raise_exception=True)
            label = given.validated_data.get("label", token.label)
            rename_api_token(token, label, author=author_of(request))
        return Response(self.get_serializer(token).data)

    def destroy(self, request: Request, id: UUID) -> Response:
        """Revoke a token: it opens nothing any more and stays listed."""
        with transaction.atomic():
            revoke_api_token(self.lock_object(), author=author_of(request))
        return Response(status=204)

    def make_token(self, request: Request, user: Any) -> Response:
        """Answer a new token of `user`."""
        return make_token(self, request, user)


def make_token(
    view: WorkspaceViewSet[Any], request: Request, user: AbstractBaseUser
) -> Response:
    """Make a token of `user` that gives no more than the one of the caller."""
    workspace = view.required_workspace()
    given = TokenSerializer(data=request.data, context=view.get_serializer_context())
    given.is_valid(raise_exception=True)
    check_no_more(request, given.validated_data)
    token, plain = issue_api_token(
        user, workspace, author=author_of(request), **given.validated_data
    )
    data = {**TokenSerializer(token).data, "token": plain}
    return Response(data, status=201, headers={"Cache-Control": NO_STORE})


def check_no_more(request: Request, wanted: dict[str, Any]) -> None:
    """Raise when a token would make one with more scopes or a longer life."""
    mine = request.auth
    if not isinstance(mine, ApiToken):
        return
    scopes = set(wanted.get("scopes") or ("read", "write"))
    if mine.scopes and not scopes <= set(mine.scopes) | _implied(mine.scopes):
        raise PermissionDenied(_("A token cannot give scopes that it does not have."))
    if mine.expires_at is None:
        return
    expires = wanted.get("expires_at")
    if expires is None or expires > mine.expires_at:
        message = _("A token cannot outlive the one that makes it.")
        raise invalid({"expires_at": [message]})


def _implied(scopes: list[str]) -> set[str]:
    return {"read"} if "write" in scopes else set()  # see `HasScope`
