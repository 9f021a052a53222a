"""What a runtime shows to write a run that it claimed: a token nobody else can guess.

A fencing token alone counts from 1. Beside it stands a signature by the installation's
secret key over run and number, so that nothing needs to be stored.
"""

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

from runners.models import AgentRun

TOKEN_CHARACTERS = 64  # more than any token has
_SIGNATURE_DIGITS = 32  # 128 bits in hexadecimal
_NUMBER_DIGITS = 18  # more than any number has, fewer than its column takes
_SALT = "runners.runtimes.claim"


def claim_token(run: AgentRun) -> str:
    """Return the token of a run's present claim: `<fencing token>-<signature>`."""
    return f"{run.fencing_token}-{_signature(run, str(run.fencing_token))}"


def claimed_number(run: AgentRun, token: str) -> int | None:
    """Return the fencing token that a claim token of the run carries; None if forged.

    Whether the claim still holds is for the caller to ask. Tokens signed by one of
    SECRET_KEY_FALLBACKS are good, too.
    """
    number, _, signature = token.partition("-")
    if not (number.isascii() and number.isdecimal()) or len(number) > _NUMBER_DIGITS:
        return None
    for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        if constant_time_compare(signature, _signature(run, number, key)):
            return int(number)
    return None


def _signature(run: AgentRun, number: str, key: str | bytes | None = None) -> str:
    signed = salted_hmac(
        _SALT, f"{run.public_id}:{number}", secret=key, algorithm="sha256"
    )
    return signed.hexdigest()[:_SIGNATURE_DIGITS]
