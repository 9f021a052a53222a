"""API tokens: made once, stored as hashes."""

from collections.abc import Sequence
from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser

from langbot.core.models import ApiToken, Workspace
from langbot.lib.secrets import hash_token, new_token

PREFIX = "lbt"
SHOWN = 10  # characters that tell tokens apart without giving one away


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
