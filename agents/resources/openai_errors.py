"""Turns what goes wrong at a provider into one ModelError without its key."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2

from agents.resources.errors import ModelError, ModelErrorCode
from agents.resources.openai_answers import not_a_completion
from agents.resources.shapes import ModelSpec
from langbot.lib.http import OutboundRefused

if TYPE_CHECKING:
    from openai import APIError, APIStatusError

MESSAGE_CHARACTERS = 300
HIDDEN = "[key]"
_BY_STATUS = {
    401: ModelErrorCode.UNAUTHORIZED,
    403: ModelErrorCode.UNAUTHORIZED,
    404: ModelErrorCode.NOT_FOUND,
    408: ModelErrorCode.TIMEOUT,
    409: ModelErrorCode.UNAVAILABLE,
    425: ModelErrorCode.UNAVAILABLE,
    429: ModelErrorCode.RATE_LIMITED,
    504: ModelErrorCode.TIMEOUT,
}
_SERVER_ERROR = 500


@contextmanager
def translated(model: ModelSpec) -> Iterator[None]:
    """Raise ModelError for every failure of a provider.

    The original is not chained: its request carries the key, and its text may.
    """
    import openai

    try:
        yield
    except (openai.APITimeoutError, TimeoutError):
        raise timed_out(model) from None
    except openai.APIConnectionError:
        raise _unreachable(model) from None
    except openai.APIStatusError as error:
        raise _refused(model, error) from None
    except openai.APIError as error:
        text = f"{model.provider_name} broke off: {_upstream(model, error)}"
        raise ModelError(ModelErrorCode.UNAVAILABLE, text) from None
    except OutboundRefused as error:
        raise _kept_in(model, error) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise not_a_completion() from None
    except ValueError:  # of a runner's infinity, which JSON cannot spell
        text = "the request has a value that JSON cannot hold"
        raise ModelError(ModelErrorCode.BAD_REQUEST, text) from None
    except httpx2.HTTPError:
        raise _unreachable(model) from None


def timed_out(model: ModelSpec, seconds: float | None = None) -> ModelError:
    """Return the error of a call that waited for too long."""
    within = f" within {seconds:g} s" if seconds is not None else " in time"
    text = f"{model.provider_name} did not answer{within}"
    return ModelError(ModelErrorCode.TIMEOUT, text)


def broken_off(model: ModelSpec) -> ModelError:
    """Return the error of a stream that stopped without saying that it is done."""
    text = f"{model.provider_name} closed the stream before the answer was complete"
    return ModelError(ModelErrorCode.UNAVAILABLE, text)


def check_provider(model: ModelSpec) -> None:
    """Raise ModelError for an address or a key that cannot be used."""
    try:
        parts, url = urlsplit(model.address), httpx2.URL(model.address)
        is_usable = parts.scheme in ("http", "https") and bool(url.host)
        is_usable = is_usable and parts.port != 0  # reading it checks its range
    except (ValueError, httpx2.InvalidURL):
        is_usable = False
    if not is_usable:
        text = f"the base URL of {model.provider_name} is not valid"
        raise ModelError(ModelErrorCode.BAD_REQUEST, text)
    _check_key(model)


def _check_key(model: ModelSpec) -> None:
    key = model.api_key
    if key is None:
        text = (
            f"the stored API key of {model.provider_name} cannot be decrypted with "
            "this installation's secret keys; enter it again"
        )
    elif not (key.isascii() and (key.isprintable() or not key)) or key != key.strip():
        text = f"the API key of {model.provider_name} has characters no key has"
    else:
        return
    raise ModelError(ModelErrorCode.UNAUTHORIZED, text)


def host_of(model: ModelSpec) -> str:
    """Return host and port of the provider, without credentials of its URL."""
    return urlsplit(model.address).netloc.rpartition("@")[2]


def _unreachable(model: ModelSpec) -> ModelError:
    text = f"{model.provider_name} cannot be reached at {host_of(model)}"
    return ModelError(ModelErrorCode.UNAVAILABLE, text)


def _kept_in(model: ModelSpec, error: OutboundRefused) -> ModelError:
    if error.reason != "address":
        text = f"{model.provider_name}: {error}"
        return ModelError(ModelErrorCode.BAD_RESPONSE, text)
    text = (
        f"{model.provider_name} is at {host_of(model)}, which is not a public address. "
        "If that is meant to be, add the host to LANGBOT_OUTBOUND_ALLOW "
        "(OUTBOUND_ALLOW in the LANGBOT settings) and restart"
    )
    return ModelError(ModelErrorCode.ADDRESS_REFUSED, text)


def _refused(model: ModelSpec, error: "APIStatusError") -> ModelError:
    status = error.status_code
    code = _BY_STATUS.get(status)
    if code is None:
        code = (
            ModelErrorCode.UNAVAILABLE
            if status >= _SERVER_ERROR
            else ModelErrorCode.BAD_REQUEST
        )
    if code is ModelErrorCode.RATE_LIMITED and error.code == "insufficient_quota":
        code = ModelErrorCode.QUOTA_EXCEEDED
    name = model.provider_name
    if code is ModelErrorCode.UNAUTHORIZED:
        # Providers like to repeat parts of the key here.
        text = f"{name} refused the API key or its rights (HTTP {status})"
    else:
        text = f"{name} answered HTTP {status}: {_upstream(model, error)}"
    details = {"status": status}
    return ModelError(code, text, details=details)


def _upstream(model: ModelSpec, error: "APIError") -> str:
    body = error.body
    said = body.get("message") if isinstance(body, dict) else body
    text = " ".join((said if isinstance(said, str) else error.message).split())
    for secret in (model.api_key, urlsplit(model.address).password):
        if secret:
            text = text.replace(secret, HIDDEN)
    return text[:MESSAGE_CHARACTERS]
