"""Form fields that several apps use: secrets, lists, JSON."""

import json
from typing import Any

from django import forms
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
        return bool(data)


class LinesField(forms.CharField):
    """A list of texts, one per line."""

    widget = forms.Textarea(attrs={"rows": 3})

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, list):
            return "\n".join(map(str, value))
        return value

    def to_python(self, value: Any) -> Any:
        lines = str(value or "").splitlines()
        return [line.strip() for line in lines if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((initial or []) != self.to_python(data))


class ReadableJSONField(forms.JSONField):
    """JSON in a text area, indented."""

    widget = forms.Textarea(attrs={"rows": 6, "spellcheck": "false"})

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, forms.fields.InvalidJSONInput):
            return str(value)
        return json.dumps(value, indent=2, ensure_ascii=False)
