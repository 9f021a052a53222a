"""Plugin tokens: made once, shown once, stored as a hash."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from django.db.models import Q

from agents.registry.models import PluginToken
from langbot.core.models import Workspace
from langbot.lib.secrets import hash_token, new_token

PREFIX = "lbp"
SHOWN_CHARACTERS = 10  # enough to tell tokens apart, 5 of them random
USE_PRECISION = timedelta(minutes=1)  # how stale `last_used_at` may be


def create_plugin_token(
    label: str, *, workspace: Workspace | None = None, plugins: Iterable[str] = ()
) -> tuple[PluginToken, str]:
    """Make a token; the second value is its plain text, which is kept nowhere.

    `plugins` are `author/name`, `*` admits any, none binds to the first that registers.
    """
    plain = new_token(PREFIX)
    token = PluginToken.objects.create(
        label=label,
        workspace=workspace,
        plugins=list(plugins),
        token_hash=hash_token(plain),
        prefix=plain[:SHOWN_CHARACTERS],
    )
    return token, plain


def verify_plugin_token(plain: str) -> PluginToken | None:
    """Return the token of this plain text unless it is unknown or revoked.

    Notes its use, at most once a minute.
    """
    token = PluginToken.objects.filter(
        token_hash=hash_token(plain), revoked_at=None
    ).first()
    if token is not None:
        now = datetime.now(UTC)
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - USE_PRECISION)
        PluginToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
    return token


def revoke_plugin_tokens(token_ids: Iterable[int]) -> int:
    """Revoke tokens; returns how many were still good."""
    return PluginToken.objects.filter(pk__in=list(token_ids), revoked_at=None).update(
        revoked_at=datetime.now(UTC)
    )
