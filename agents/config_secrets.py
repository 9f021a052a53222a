"""Secrets inside a runner's configuration: stored sealed, shown as a mask.

A sealed value is `{"$secret": "<fernet token>"}`. Whoever sends the mask back (a form,
a REST client that patches what it read) keeps the stored value.
"""

from collections.abc import Mapping
from typing import Any

from langbot.lib.redaction import REDACTED, looks_secret
from langbot.lib.secrets import SecretUnreadableError, decrypt, encrypt

SEAL = "$secret"


def is_sealed(value: Any) -> bool:
    """Say whether a value is an encrypted secret."""
    return (
        isinstance(value, Mapping)
        and set(value) == {SEAL}
        and isinstance(value[SEAL], str)
    )


def is_readable(value: Mapping[str, str]) -> bool:
    """Say whether a sealed value can be decrypted with the listed keys."""
    try:
        decrypt(value[SEAL])
    except SecretUnreadableError:
        return False
    return True


def reveal_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration in clear, for the runner only; never store or log it.

    Raises SecretUnreadableError when the key of a secret is no longer listed.
    """
    return {
        name: decrypt(value[SEAL]) if is_sealed(value) else value
        for name, value in config.items()
    }


def secrets_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the secrets in clear, to compare two states; never store or log it."""
    sealed = {name: value for name, value in config.items() if is_sealed(value)}
    try:
        return reveal_config(sealed)
    except SecretUnreadableError:
        return sealed


def mask_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration for people: every sealed value is the mask."""
    return {
        name: REDACTED if is_sealed(value) else value for name, value in config.items()
    }


def keep_masked(config: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Put stored secrets back where the mask was sent; a mask of nothing is dropped."""
    kept = {}
    for name, value in config.items():
        if value != REDACTED:
            kept[name] = value
        elif is_sealed(stored.get(name)):
            kept[name] = stored[name]
    return kept


def seal_config(
    config: Mapping[str, Any], secret_names: set[str] | None
) -> dict[str, Any]:
    """Encrypt plain secrets.

    `secret_names` None means that the schema is unknown (the runner never connected):
    then every text under a secret-looking name is sealed (LB-14).
    """
    return {
        name: {SEAL: encrypt(value)}
        if isinstance(value, str) and value and _is_secret(name, secret_names)
        else value
        for name, value in config.items()
    }


def _is_secret(name: str, secret_names: set[str] | None) -> bool:
    return looks_secret(name) if secret_names is None else name in secret_names
