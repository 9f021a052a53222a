"""Secrets at rest and tokens."""

import hashlib
import secrets
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.core.exceptions import ImproperlyConfigured

from langbot.lib.key_ring import current_keys


class SecretUnreadableError(ValueError):
    """A stored secret was encrypted with a key that is no longer listed."""


@lru_cache(maxsize=8)
def cipher(keys: tuple[str, ...]) -> MultiFernet:
    """Return what encrypts with the first key and decrypts with all of them."""
    if not keys:
        message = "LANGBOT['SECRET_KEYS'] holds no key; secrets cannot be stored"
        raise ImproperlyConfigured(message)
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError:
        message = "LANGBOT['SECRET_KEYS'] must be url-safe base64 keys of 32 bytes"
        raise ImproperlyConfigured(message) from None


def encrypt(plain: str) -> str:
    """Encrypt with the newest key."""
    return cipher(current_keys()).encrypt(plain.encode()).decode()


def decrypt(stored: str) -> str:
    """Decrypt with any key; raises SecretUnreadableError."""
    try:
        return cipher(current_keys()).decrypt(stored.encode()).decode()
    except InvalidToken:
        message = "a stored secret cannot be decrypted with LANGBOT['SECRET_KEYS']"
        raise SecretUnreadableError(message) from None


def new_token(prefix: str, nbytes: int = 32) -> str:
    """Return `<prefix>_<random>`: shown once, stored as `hash_token` of it."""
    return f"{prefix}_{secrets.token_urlsafe(nbytes)}"


def hash_token(token: str) -> str:
    """Return the sha256 of a token as hex.

    Unsalted on purpose: tokens are random, and are looked up by their hash.
    """
    return hashlib.sha256(token.encode()).hexdigest()
