"""Two people change one row: nobody's save replaces another's unseen.

A form carries a fingerprint of every value it was opened with. When a posted value
would replace one that somebody else has stored meanwhile, nothing is saved: the page
comes back with both, and each choice names the fingerprint of the value it was made
against. So a third save in between asks again.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext

from langbot.core.audited_admin import AuditedAdmin
from langbot.core.models import AuditLog
from langbot.lib.fields import EncryptedJSONField, EncryptedTextField
from langbot.lib.forms import SecretField, shown_value
from langbot.lib.models import lock_rows
from langbot.lib.side_by_side import Line, side_by_side

OPENED = "opened_with"
KEEP = "keep__"
MINE, THEIRS = "mine", "theirs"


class OpenedWithField(forms.CharField):
    """The fingerprints, hidden; it never counts as a change."""

    widget = forms.HiddenInput

    def __init__(self) -> None:
        super().__init__(required=False, label="")

    def has_changed(self, initial: Any, data: Any) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Conflict:
    """One value that two people changed; `touched` when this form's person did."""

    name: str
    label: str
    token: str
    touched: bool
    lines: list[Line]


class ConflictForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in stubs only
    """A model's form that refuses to replace values that its person never saw."""

    opened_with = OpenedWithField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conflicts: list[Conflict] = []
        self._stored: dict[str, str] = {}
        if self.instance.pk is None or OPENED not in self.fields:
            return
        # Later: subclasses still add initial values.
        self.initial[OPENED] = self._opened_now
        for name in self.fields:
            if self.takes_theirs(name):
                _disable(self.fields[name])

    def takes_theirs(self, name: str) -> bool:
        """Whether the person chose the stored value of this field."""
        return self._choice(name).startswith(THEIRS)

    def choices_in_force(self) -> list[tuple[str, str]]:
        """Return (input name, value) of choices that the page has to post again."""
        asked = {conflict.name for conflict in self.conflicts}
        made = [
            (self.add_prefix(KEEP + name), self._choice(name)) for name in self.fields
        ]
        return [(name, value) for name, value in made if value and name not in asked]

    def is_guarded(self, name: str) -> bool:
        """Whether a field shows a value of the stored row."""
        return name != OPENED

    def secrets_of(self, row: Any) -> Any:
        """Return the row's secrets, to notice that one was replaced."""
        kinds = (EncryptedTextField, EncryptedJSONField)
        fields = [f for f in row._meta.concrete_fields if isinstance(f, kinds)]
        return {field.name: getattr(row, field.name) for field in fields}

    def full_clean(self) -> None:
        if not self.is_bound or self.instance.pk is None:
            super().full_clean()
            return
        # Before validation writes the posted values into the instance.
        self._stored = self._fingerprints()
        super().full_clean()
        self.conflicts = [self._conflict(name) for name in self._contested()]
        if self.conflicts:
            message = gettext("Somebody else has changed this since you opened it.")
            self.errors.setdefault("__all__", self.error_class()).append(message)

    def _contested(self) -> list[str]:
        opened = self._opened()
        return [
            name
            for name in self.changed_data
            if self.is_guarded(name)
            and (opened is None or name in opened)
            and self._stored[name] != (opened or {}).get(name)
            and self._choice(name) != f"{MINE}:{self._stored[name]}"
        ]

    def _conflict(self, name: str) -> Conflict:
        field = self.fields[name]
        mine = self.cleaned_data.get(name, self[name].data)
        theirs = self.get_initial_for_field(field, name)
        return Conflict(
            name=self.add_prefix(KEEP + name),
            label=str(field.label or name),
            token=self._stored[name],
            touched=_fingerprint(mine) != (self._opened() or {}).get(name),
            lines=side_by_side(shown_value(field, mine), shown_value(field, theirs)),
        )

    def _choice(self, name: str) -> str:
        return str(self.data.get(self.add_prefix(KEEP + name), ""))

    def _opened(self) -> dict[str, str] | None:
        """Return the posted fingerprints, or None when there are none to trust."""
        try:
            opened = json.loads(self.data.get(self.add_prefix(OPENED), ""))
        except ValueError:
            return None
        return opened if isinstance(opened, dict) else None

    def _opened_now(self) -> str:
        return json.dumps(self._fingerprints())

    def _fingerprints(self) -> dict[str, str]:
        return {
            name: _fingerprint(
                self.secrets_of(self.instance)
                if isinstance(field, SecretField)
                else self.get_initial_for_field(field, name)
            )
            for name, field in self.fields.items()
            if self.is_guarded(name)
        }


def _fingerprint(value: Any) -> str:
    plain = value.pk if isinstance(value, Model) else value
    text = json.dumps(plain, sort_keys=True, default=str)
    return salted_hmac("langbot.opened_with", text).hexdigest()[:16]


def _disable(field: forms.Field) -> None:
    """Let a field clean its initial value instead of the posted one."""
    field.disabled = True
    for part in getattr(field, "fields", ()):
        _disable(part)


class ConflictAdmin(AuditedAdmin):
    """Shows collisions of its `ConflictForm`, and holds the row until it is saved."""

    change_form_template = "admin/langbot_core/conflict_form.html"

    def lock_for_change(self, request: HttpRequest, pk: Any) -> None:
        """Hold the row from the comparison to the save."""
        lock_rows(self.model._base_manager.filter(pk=pk))

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: Any = None
    ) -> Any:
        row = super().get_object(request, object_id, from_field)
        if row is None or request.method != "POST":
            return row
        self.lock_for_change(request, row.pk)
        return super().get_object(request, object_id, from_field)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        forms_of_page = list(_forms_of(context))
        context["kept"] = [
            choice for _row, form in forms_of_page for choice in form.choices_in_force()
        ]
        context["conflicts"] = [
            (row, conflict)
            for row, form in forms_of_page
            for conflict in form.conflicts
        ]
        if context["conflicts"]:
            context["last_change"] = _last_change(context["original"])
        return super().render_change_form(request, context, *args, **kwargs)


def _forms_of(context: Mapping[str, Any]) -> Iterator[tuple[str, ConflictForm]]:
    """Yield (row, form) of a page's form and of its inlines; '' is the page's."""
    if isinstance(context["adminform"].form, ConflictForm):
        yield "", context["adminform"].form
    for inline in context.get("inline_admin_formsets") or ():
        for form in inline.formset.forms:
            if isinstance(form, ConflictForm):
                yield str(form.instance), form


def _last_change(row: Any) -> AuditLog | None:
    entries = AuditLog.objects.filter(
        object_type=row._meta.label_lower,
        object_id=str(getattr(row, "public_id", row.pk)),
    )
    return entries.order_by("-pk").first()
