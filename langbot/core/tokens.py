"""API tokens: made once, stored as hashes."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from langbot.core.audit import record_act, record_change, state_of
from langbot.core.models import ApiToken, Workspace
from langbot.lib.secrets import hash_token, new_token

READ, WRITE, METRICS = "read", "write", "metrics"
# `metrics` opens the totals of the whole installation: superusers give it.
SCOPES = (READ, WRITE, METRICS)
PREFIX = "lbt"
SHOWN = 10  # characters that tell tokens apart without giving one away


def may_give(person: Any, scopes: Sequence[str]) -> bool:
    """Whether a person may make tokens with these scopes."""
    return METRICS not in scopes or bool(person.is_superuser)


def create_api_token(
    user: AbstractBaseUser,
    workspace: Workspace,
    label: str,
    *,
    scopes: Sequence[str] = (),
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """Return the new row and the plain token, which cannot be read again.

    No scopes means all of them.
    """
    plain = new_token(PREFIX)
    token = ApiToken.objects.create(
        user_id=user.pk,
        workspace=workspace,
        label=label[:100],
        token_hash=hash_token(plain),
        prefix=plain[:SHOWN],
        scopes=list(scopes),
        expires_at=expires_at,
    )
    return token, plain


def issue_api_token(
    user: AbstractBaseUser,
    workspace: Workspace,
    label: str,
    *,
    author: str,
    **limits: Any,
) -> tuple[ApiToken, str]:
    """Do what `create_api_token` does, with an audit entry."""
    with transaction.atomic():
        token, plain = create_api_token(user, workspace, label, **limits)
        record_act(author, "created", token, after=state_of(token))
    return token, plain


def rename_api_token(token: ApiToken, label: str, *, author: str) -> None:
    """Change a token's label, with an audit entry when it differs."""
    before = state_of(token)
    token.label = label
    with transaction.atomic():
        token.save(update_fields=["label"])
        record_change(author, token, before)


def revoke_api_token(token: ApiToken, *, author: str) -> bool:
    """End a token for good, with an audit entry; False when it had ended already."""
    good = ApiToken.objects.filter(pk=token.pk, revoked_at=None)
    with transaction.atomic():
        revoked = good.update(revoked_at=datetime.now(UTC)) == 1
        if revoked:
            record_act(author, "revoked", token)
    token.refresh_from_db()
    return revoked
