"""REST for service accounts: users that programs act as, and their tokens."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import Http404
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from langbot.core.access import author_of
from langbot.core.accounts import (
    create_service_account,
    may_act_as,
    may_grant,
    remove_service_account,
)
from langbot.core.api.permissions import check_administers
from langbot.core.api.serializers import (
    AccountSerializer,
    NewTokenSerializer,
    TokenSerializer,
)
from langbot.core.api.tokens import make_token
from langbot.core.models import ApiToken, ServiceAccount
from langbot.core.rest import WorkspaceViewSet
from langbot.core.tokens import revoke_api_token


class AccountFilters(serializers.Serializer[Any]):
    name = serializers.SlugField(required=False)


class ServiceAccountViewSet(
    mixins.RetrieveModelMixin, mixins.ListModelMixin, WorkspaceViewSet[ServiceAccount]
):
    """Accounts of programs: no password, one workspace, tokens only."""

    queryset = ServiceAccount.objects.select_related(
        "workspace", "user"
    ).prefetch_related("user__groups")
    serializer_class = AccountSerializer
    filter_serializer = AccountFilters
    orderings = {"name": "name", "created_at": "created_at"}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_administers(request, self.workspace)

    @extend_schema(responses={201: AccountSerializer})
    def create(self, request: Request) -> Response:
        """Make an account; nobody can give one more rights than they have."""
        workspace = self.required_workspace()
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        if not may_grant(request.user, given.get("groups", [])):
            raise PermissionDenied(_("These groups allow more than you may do."))
        account = create_service_account(workspace, author=author_of(request), **given)
        return Response(self.get_serializer(account).data, status=201)

    def destroy(self, request: Request, id: UUID) -> Response:
        """Close an account: its tokens end at once, its records stay."""
        with transaction.atomic():
            remove_service_account(self.lock_object(), author=author_of(request))
        return Response(status=204)

    @extend_schema(
        methods=["GET"],
        filters=False,
        responses=TokenSerializer(many=True),
        operation_id="account_tokens",
    )
    @extend_schema(
        methods=["POST"],
        request=TokenSerializer,
        responses={201: NewTokenSerializer},
        operation_id="create_account_token",
    )
    @action(detail=True, methods=["get", "post"], serializer_class=TokenSerializer)
    def tokens(self, request: Request, id: UUID) -> Response:
        """GET the account's tokens; POST makes one, its plain text shown once."""
        account = self.get_object()
        if request.method == "GET":
            return self.listing(_tokens_of(account).select_related("workspace"))
        if not may_act_as(request.user, account.user):
            raise PermissionDenied(_("This account may do more than you."))
        return make_token(self, request, account.user)

    @extend_schema(responses={204: None}, operation_id="revoke_account_token")
    @action(
        detail=True,
        methods=["delete"],
        url_path="tokens/<uuid:token_id>",
        url_name="token",
    )
    def revoke(self, request: Request, id: UUID, token_id: UUID) -> Response:
        """Revoke a token of the account."""
        token = _tokens_of(self.get_object()).filter(public_id=token_id).first()
        if token is None:
            raise Http404
        revoke_api_token(token, author=author_of(request))
        return Response(status=204)


def _tokens_of(account: ServiceAccount) -> Any:
    return ApiToken.objects.filter(user=account.user_id, workspace=account.workspace_id)
