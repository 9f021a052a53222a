"""Who calls: `Authorization: Bearer <token>` or `Token <token>`."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import CharField, Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from langbot.core.models import ApiToken, Membership
from langbot.lib.prepared import PreparedQuery
from langbot.lib.secrets import hash_token

_SCHEMES = {"bearer", "token"}
_USED_EVERY = timedelta(minutes=1)  # a write per request would cost more than it tells


class TokenAuthentication(BaseAuthentication):
    """Authenticates API tokens; `request.auth` is the token row."""

    def authenticate(self, request: Request) -> tuple[Any, ApiToken] | None:
        scheme, _space, plain = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() not in _SCHEMES:
            return None
        token = find_token(plain.strip())
        if token is None:
            raise AuthenticationFailed(_("The token is wrong, expired or revoked."))
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _active_tokens(token_hash: Any) -> QuerySet[ApiToken]:
    membership = Membership.objects.filter(
        user=OuterRef("user"), workspace=OuterRef("workspace")
    )
    return (
        ApiToken.objects.active()
        .select_related("user", "workspace")
        .annotate(is_member=Exists(membership))
        .filter(token_hash=token_hash)
    )


_active_token = PreparedQuery(_active_tokens, CharField())


def find_token(plain: str) -> ApiToken | None:
    """Return the active token, marked as used; None for any other text."""
    token = _active_token.first(hash_token(plain))
    if token is not None:
        _mark_used(token)
    return token


def _mark_used(token: ApiToken) -> None:
    now = datetime.now(UTC)
    if token.last_used_at is not None and now - token.last_used_at < _USED_EVERY:
        return
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - _USED_EVERY)
    ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=Now())


class HasScope(BasePermission):
    """Tokens with scopes need `read` to read and `write` to change anything."""

    message = _("The scopes of this token do not allow this.")
    code = "insufficient_scope"

    def has_permission(self, request: Request, view: Any) -> bool:
        token = request.auth
        if not isinstance(token, ApiToken) or not token.scopes:
            return True
        needed = {"read", "write"} if request.method in SAFE_METHODS else {"write"}
        return not needed.isdisjoint(token.scopes)
