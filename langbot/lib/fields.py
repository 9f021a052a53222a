"""Model fields whose values are encrypted in the database.

They are stored as text, read as plain values and never searchable. Rows are written
with the newest key when saved; `manage.py rotatesecrets` writes all of them anew.
Fixtures carry them encrypted, and load where those keys are known.
"""

import json
from typing import TYPE_CHECKING, Any

from django import forms
from django.core import checks
from django.core.exceptions import FieldError, ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Lookup
from django.db.models.expressions import Combinable
from django.utils.translation import gettext

from langbot.lib.secrets import SecretUnreadableError, decrypt, encrypt

if TYPE_CHECKING:
    _Text = models.TextField[str | Combinable | None, str]
    _Json = models.TextField[Any, Any]
else:  # Django's fields take no type arguments at run time
    _Text = _Json = models.TextField


_IN_FIXTURE = "encrypted:"


class _EncryptedMixin:
    """Refuse every lookup but `isnull`, and indexes: equal values differ at rest."""

    def get_lookup(self, lookup_name: str) -> "type[Lookup[Any]] | None":
        if lookup_name == "isnull":
            lookup: type[Lookup[Any]] | None = super().get_lookup(lookup_name)  # type: ignore[misc]  # the field beside this mixin has it
            return lookup
        message = f"an encrypted field cannot be searched ({lookup_name})"
        raise FieldError(message)

    def get_transform(self, lookup_name: str) -> None:
        return None

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        found: list[checks.CheckMessage] = super().check(**kwargs)  # type: ignore[misc]  # the field beside this mixin has it
        if getattr(self, "unique", False) or getattr(self, "db_index", False):
            message = "an encrypted field cannot be unique or indexed"
            hint = "Index a hash of the value in a field of its own."
            found.append(checks.Error(message, hint=hint, obj=self, id="langbot.E001"))
        return found


def _for_fixture(stored: str | None) -> str | None:
    return f"{_IN_FIXTURE}{stored}" if stored else stored


def _from_fixture(value: Any) -> str | None:
    """Return the plain text of a fixture's value, None for any other value."""
    if not isinstance(value, str) or not value.startswith(_IN_FIXTURE):
        return None
    try:
        return decrypt(value.removeprefix(_IN_FIXTURE))
    except SecretUnreadableError as error:
        raise ValidationError(gettext("A secret cannot be decrypted.")) from error


class EncryptedTextField(_EncryptedMixin, _Text):
    """Text that is encrypted at rest; empty text is stored as it is."""

    def to_python(self, value: Any) -> Any:
        plain = _from_fixture(value)
        return super().to_python(value if plain is None else plain)

    def value_to_string(self, obj: models.Model) -> Any:
        return _for_fixture(self.get_prep_value(self.value_from_object(obj)))

    def get_prep_value(self, value: Any) -> Any:
        prepared = super().get_prep_value(value)
        return encrypt(str(prepared)) if prepared else prepared

    def from_db_value(
        self, value: str | None, expression: Any, connection: BaseDatabaseWrapper
    ) -> str | None:
        return decrypt(value) if value else value


class EncryptedJSONField(_EncryptedMixin, _Json):
    """A JSON value that is encrypted at rest; None is NULL."""

    def get_prep_value(self, value: Any) -> Any:
        if value is None or isinstance(value, Combinable):
            return value
        return encrypt(json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False))

    def from_db_value(
        self, value: str | None, expression: Any, connection: BaseDatabaseWrapper
    ) -> Any:
        return json.loads(decrypt(value)) if value else None

    def to_python(self, value: Any) -> Any:
        plain = _from_fixture(value)
        return value if plain is None else json.loads(plain)

    def value_to_string(self, obj: models.Model) -> Any:
        return _for_fixture(self.get_prep_value(self.value_from_object(obj)))

    def formfield(self, **kwargs: Any) -> Any:
        kwargs.setdefault("form_class", forms.JSONField)
        kwargs.setdefault("encoder", DjangoJSONEncoder)
        return models.Field.formfield(self, **kwargs)
