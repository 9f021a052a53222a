"""A list of providers of one kind, filled by `AppConfig.ready()` and closed then."""

from typing import Generic, Protocol, TypeVar

from django.apps import apps


class Named(Protocol):
    """Whatever registers itself; its key is stored in snapshots and never changes."""

    key: str


T = TypeVar("T", bound=Named)


class PortClosedError(RuntimeError):
    """Something was registered after start-up; do it in `AppConfig.ready()`."""


class Port(Generic[T]):
    """The registered providers, in the order in which they came."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._providers: dict[str, T] = {}

    def __bool__(self) -> bool:
        return bool(self._providers)

    def register(self, provider: T) -> None:
        """Add a provider; the same class again replaces it, another is refused."""
        known = self._providers.get(provider.key)
        if apps.ready or (known is not None and type(known) is not type(provider)):
            message = f"{self._name}: {provider.key}"
            raise PortClosedError(message)
        self._providers[provider.key] = provider

    def all(self) -> list[T]:
        """Return every provider."""
        return list(self._providers.values())

    def get(self, key: str) -> T | None:
        """Return the provider of this key; None when its app is not installed."""
        return self._providers.get(key)
