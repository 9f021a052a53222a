"""Where secrets are stored: encrypted fields, and encrypted values inside JSON.

The fields find themselves. A JSON field that holds encrypted text is registered by its
app when Django starts: `register("langbot_agents.Agent", "runner_config", "$secret")`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import models
from django.db.models.functions import Cast

from langbot.lib.fields import EncryptedJSONField, EncryptedTextField

Rewrite = Callable[[str], str]

_json_places: dict[tuple[str, str], str] = {}


@dataclass(frozen=True, slots=True)
class Place:
    """One column; `member` is the key of encrypted text inside JSON, "" for a field."""

    model: type[models.Model]
    column: str
    member: str = ""

    @property
    def name(self) -> str:
        return f"{self.model._meta.label}.{self.column}"

    def rows(self) -> "models.QuerySet[Any, tuple[Any, Any]]":
        """Return key and raw value of the rows that may hold a secret, by key.

        The value is as the database has it: nothing is decrypted on the way.
        """
        rows = self.model._base_manager.exclude(**{f"{self.column}__isnull": True})
        text = Cast(self.column, models.TextField())
        if self.member:
            # Most rows have none: the database says which, without sending them.
            rows = rows.alias(text=text).filter(text__contains=f'"{self.member}"')
            rows = rows.annotate(stored=models.F(self.column))
        else:
            rows = rows.annotate(stored=text)
        found: models.QuerySet[Any, tuple[Any, Any]] = rows.order_by("pk").values_list(
            "pk", "stored"
        )
        return found

    def tokens(self, stored: Any) -> Iterator[str]:
        """Yield the encrypted texts of a raw value."""
        if not self.member:
            yield from [stored] if stored else []
        elif isinstance(stored, dict):
            for key, value in stored.items():
                if key == self.member and isinstance(value, str):
                    yield value
                else:
                    yield from self.tokens(value)
        elif isinstance(stored, list):
            for item in stored:
                yield from self.tokens(item)

    def rewritten(self, stored: Any, rewrite: Rewrite) -> Any:
        """Return the raw value with every encrypted text replaced."""
        if not self.member:
            return rewrite(stored)
        if isinstance(stored, dict):
            return {
                key: rewrite(value)
                if key == self.member and isinstance(value, str)
                else self.rewritten(value, rewrite)
                for key, value in stored.items()
            }
        if isinstance(stored, list):
            return [self.rewritten(item, rewrite) for item in stored]
        return stored

    def write(self, pk: Any, raw: Any) -> None:
        """Store a raw value; no other column is touched, no `save` runs."""
        value = raw if self.member else models.Value(raw, models.TextField())
        rows = self.model._base_manager.filter(pk=pk)
        models.QuerySet.update(rows, **{self.column: value})


def register(model: str, column: str, member: str) -> None:
    """Say that a JSON column has encrypted text under `member`, at any depth."""
    _json_places[model, column] = member


def places() -> list[Place]:
    """Return every column of the installed apps that may hold secrets."""
    found = [
        Place(model, field.name)
        for model in apps.get_models()
        for field in model._meta.concrete_fields
        if isinstance(field, EncryptedTextField | EncryptedJSONField)
    ]
    found += [
        Place(apps.get_model(model), column, member)
        for (model, column), member in _json_places.items()
    ]
    return sorted(found, key=lambda place: place.name)
