"""Every route of the API, from its own URL patterns."""

from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from langbot.api import urls


@dataclass(frozen=True)
class Route:
    """A route, and which methods it takes."""

    name: str
    pattern: str
    methods: frozenset[str]

    @property
    def parameters(self) -> list[str]:
        parts = self.pattern.split("<")[1:]
        return [part.split(">")[0].partition(":")[2] for part in parts]

    @property
    def resource(self) -> str:
        """The key of `rest_rows.places`."""
        *words, _last = self.name.split("-")
        known = [word for word in words if word not in {"by", "pending"}]
        return "-".join(known) or self.name

    def url(self, places: dict[str, dict[str, Any]]) -> str:
        """Return its address; fails for a route whose rows nobody has added."""
        known = places.get(self.resource, {})
        missing = [name for name in self.parameters if name not in known]
        assert not missing, (
            f"{self.name} needs {missing} of {self.resource!r} in rest_rows.places"
        )
        kwargs = {name: known[name] for name in self.parameters}
        return reverse(f"langbot:{self.name}", kwargs=kwargs)


def routes() -> list[Route]:
    """Return the routes of all resources, without the documentation's own."""
    found: list[Any] = urls()
    return [
        Route(str(one.name), str(one.pattern), frozenset(one.callback.actions))
        for one in found
        if getattr(one.callback, "actions", None)
    ]
