"""Form fields that several apps use: secrets, lists, JSON."""

import json
from typing import Any

from django import forms
from django.db.models import Model
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from langbot.lib.redaction import REDACTED


class SecretField(forms.CharField):
    """Write-only text: a stored value is never rendered, empty input keeps it."""

    def __init__(self, *, stored: bool, **kwargs: Any) -> None:
        self.stored = stored
        placeholder = _("Stored. Leave empty to keep it.") if stored else ""
        widget = forms.PasswordInput(
            attrs={"autocomplete": "new-password", "placeholder": placeholder}
        )
        kwargs["required"] = kwargs.get("required", False) and not stored
        super().__init__(widget=widget, strip=True, **kwargs)

    def clean(self, value: Any) -> Any:
        """Return the new secret, or the mask that keeps the stored one."""
        given = super().clean(value)
        return given or (REDACTED if self.stored else None)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(data) and not self.disabled

    def describe(self, value: Any) -> str:
        """Say that there is a secret, never which."""
        return gettext("another secret") if value else gettext("the stored secret")


class LinesField(forms.CharField):
    """A list of texts, one per line."""

    widget = forms.Textarea(attrs={"rows": 3})

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, list):
            return "\n".join(map(str, value))
        return value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, list):
            return value  # a disabled field cleans what is stored
        lines = str(value or "").splitlines()
        return [line.strip() for line in lines if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return not self.disabled and bool((initial or []) != self.to_python(data))


class ReadableJSONField(forms.JSONField):
    """JSON in a text area, indented."""

    widget = forms.Textarea(attrs={"rows": 6, "spellcheck": "false"})

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, forms.fields.InvalidJSONInput):
            return str(value)
        return json.dumps(value, indent=2, ensure_ascii=False)


def shown_value(field: forms.Field, value: Any) -> str:
    """Return a field's value as people read it; a field's own `describe` knows best."""
    describe = getattr(field, "describe", None)
    if describe is not None:
        return str(describe(value))
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if value in (None, "", [], {}):
        return "—"
    if isinstance(value, Model):
        return str(value)
    if isinstance(value, dict) or _is_nested(value):
        return json.dumps(value, indent=2, ensure_ascii=False)
    labels = _labels(field)
    several = value if isinstance(value, list) else [value]
    return "\n".join(labels.get(str(one), str(one)) for one in several)


def _is_nested(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(v, dict | list) for v in value)


def _labels(field: forms.Field) -> dict[str, str]:
    """Return the labels of a field's choices, option groups flattened."""
    labels: dict[str, str] = {}
    for name, label in getattr(field, "choices", ()):
        if isinstance(label, list | tuple):
            labels |= {str(one): str(text) for one, text in label}
        else:
            labels[str(name)] = str(label)
    return labels
