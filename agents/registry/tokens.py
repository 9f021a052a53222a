"""Plugin tokens: made once, shown once, stored as a hash."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import Q

from agents.registry.models import PluginToken
from langbot.core.audit import record_act, record_change, state_of
from langbot.core.models import Workspace
from langbot.lib.models import lock_rows
from langbot.lib.secrets import hash_token, new_token

PREFIX = "lbp"
SHOWN_CHARACTERS = 10  # enough to tell tokens apart, 5 of them random
ROTATION_GRACE = timedelta(hours=24)  # time to give processes the new token
USE_PRECISION = timedelta(minutes=1)  # how stale `last_used_at` may be


def create_plugin_token(
    label: str,
    *,
    workspace: Workspace | None = None,
    plugins: Iterable[str] = (),
    control_plane: bool = False,
) -> tuple[PluginToken, str]:
    """Make a token; the second value is its plain text, which is kept nowhere.

    `plugins` are `author/name`, `*` admits any, none binds to the first that registers.
    `control_plane` lets them take, end and cancel runs of the workspace.
    """
    plain = new_token(PREFIX)
    token = PluginToken.objects.create(
        label=label,
        workspace=workspace,
        plugins=list(plugins),
        control_plane=control_plane,
        token_hash=hash_token(plain),
        prefix=plain[:SHOWN_CHARACTERS],
    )
    return token, plain


def verify_plugin_token(plain: str) -> PluginToken | None:
    """Return the token of this plain text unless it is unknown, revoked or expired.

    Notes its use, at most once a minute.
    """
    token = PluginToken.objects.good().filter(token_hash=hash_token(plain)).first()
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


def rotate_plugin_token(
    token: PluginToken, grace: timedelta, *, author: str
) -> tuple[PluginToken, str]:
    """Make a token like this one; returns it and its plain text, which is kept nowhere.

    The old one is good for `grace` longer, none ends it at once; its sockets close
    within 2 s of its end. Raises ValueError for a token that is over already.
    """
    with transaction.atomic():
        mine = lock_rows(PluginToken.objects.good().filter(pk=token.pk))
        if not mine:
            message = "a token that is over cannot be rotated"
            raise ValueError(message)
        old = mine[0]
        before = state_of(old)
        new, plain = create_plugin_token(
            old.label,
            workspace=old.workspace,
            plugins=old.plugins,
            control_plane=old.control_plane,
        )
        _let_expire(old, grace)
        record_act(author, "created", new, after=state_of(new))
        record_change(author, old, before, action="rotated")
    return new, plain


def _let_expire(token: PluginToken, grace: timedelta) -> None:
    now = datetime.now(UTC)
    if grace > timedelta(0):
        end = now + grace
        token.expires_at = min(end, token.expires_at or end)
    else:
        token.revoked_at = now
    token.save(update_fields=["expires_at", "revoked_at"])
