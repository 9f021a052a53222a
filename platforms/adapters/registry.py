"""The platforms this installation knows. Closed once Django has started."""

from django.apps import apps
from django.utils.functional import Promise

from platforms.adapters.base import Adapter

_adapters: dict[str, Adapter] = {}


class RegistryClosedError(RuntimeError):
    """An adapter was registered after start-up; do it in `AppConfig.ready()`."""


class UnknownAdapterError(LookupError):
    """A bot names a platform that no installed app brings."""


def register(adapter: Adapter) -> None:
    """Add a platform; the same class again is ignored, another of its kind refused."""
    if apps.ready:
        raise RegistryClosedError(adapter.kind)
    known = _adapters.setdefault(adapter.kind, adapter)
    if type(known) is not type(adapter):
        message = f"two adapters of kind {adapter.kind}"
        raise RegistryClosedError(message)


def get(kind: str) -> Adapter:
    """Return the adapter of a platform; raises UnknownAdapterError."""
    try:
        return _adapters[kind]
    except KeyError:
        raise UnknownAdapterError(kind) from None


def adapters() -> list[Adapter]:
    """Return every platform."""
    return list(_adapters.values())


def choices() -> list[tuple[str, str | Promise]]:
    """Return (kind, label) of every platform, for forms."""
    return [(kind, adapter.label) for kind, adapter in sorted(_adapters.items())]
