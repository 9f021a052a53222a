"""Tokens of clients that follow one run: short-lived, signed, stored nowhere (LO-09).

A token says who follows which run. That the person may see the run was checked when it
was made, at most five minutes ago; what may have changed since is checked when it is
used (`runners.clients.access`).
"""

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core import signing

LIFE_SECONDS = 300  # contract


class TokenError(Exception):
    """The token opens nothing now; the message is safe to show."""


class InvalidTokenError(TokenError):
    """No token of ours, or one for another run: that is final."""


class ExpiredTokenError(TokenError):
    """The token was good; its owner asks for another one."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a token. `credential` is the API token that they asked with, if any."""

    run_id: UUID
    workspace_id: int
    user_id: str
    credential: str
    expires_at: float  # seconds of the epoch


def issue_token(
    run_id: UUID | str, workspace_id: int, user_id: Any, credential: Any = ""
) -> str:
    """Return a token that is good for 300 s; it costs no query."""
    claims = {
        "run": str(run_id),
        "workspace": workspace_id,
        "user": str(user_id),
        "credential": str(credential),
        "expires": int(time.time()) + LIFE_SECONDS,
    }
    return _signer().sign_object(claims)


def read_token(token: str, run_id: UUID) -> Holder:
    """Return who holds the token of this run; raises TokenError."""
    try:
        claims = _signer().unsign_object(token)
        holder = Holder(
            UUID(claims["run"]),
            claims["workspace"],
            claims["user"],
            claims["credential"],
            claims["expires"],
        )
    except (signing.BadSignature, KeyError, TypeError, ValueError):
        message = "the token is not valid"
        raise InvalidTokenError(message) from None
    if holder.run_id != run_id:
        message = "the token is for another run"
        raise InvalidTokenError(message)
    if holder.expires_at <= time.time():
        message = "the token has expired"
        raise ExpiredTokenError(message)
    return holder


def _signer() -> signing.Signer:
    return signing.Signer(salt="langbot.run.client")
