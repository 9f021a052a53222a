"""Form fields of runner settings that no single HTML input covers."""

from collections.abc import Mapping, Sequence
from itertools import count, takewhile
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from agents.registry.config_items import model_chain

Choices = list[tuple[str, Any]]
ROLES: Choices = [
    ("system", _("System")),
    ("user", _("User")),
    ("assistant", _("Assistant")),
]


class OptionalBooleanField(forms.BooleanField):
    """A check box whose `required` never forces a tick."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "required": False})


class ModelChainWidget(forms.MultiWidget):
    """The first model and its fallbacks, in order."""

    def __init__(self, choices: Choices, fallbacks: int) -> None:
        names = [_("Model"), *[_("Fallback %d") % (n + 1) for n in range(fallbacks)]]
        super().__init__(
            [
                forms.Select(
                    attrs={"aria-label": name},
                    choices=[("", f"— {name} —"), *choices],
                )
                for name in names
            ]
        )

    def decompress(self, value: Any) -> list[Any]:
        return model_chain(value)

    def render(
        self, name: str, value: Any, attrs: Any = None, renderer: Any = None
    ) -> SafeString:
        parts = super().render(name, value, attrs, renderer)
        return format_html('<div class="lb-stack">{}</div>', parts)


class ModelChainField(forms.MultiValueField):
    """`{"primary", "fallbacks"}` of wire 4."""

    def __init__(self, *, choices: Choices, fallbacks: int = 3, **kwargs: Any) -> None:
        self.offered = choices
        offered = [("", ""), *choices]
        fields = [
            forms.ChoiceField(choices=offered, required=False)
            for _slot in range(fallbacks + 1)
        ]
        super().__init__(
            fields,
            widget=ModelChainWidget(choices, fallbacks),
            require_all_fields=False,
            **kwargs,
        )

    def describe(self, value: Any) -> str:
        """Return the models' names, one per line."""
        names = {name: str(label) for name, label in self.offered}
        chosen = [names.get(one, one) for one in model_chain(value) if one]
        return "\n".join(chosen) or "—"

    def compress(self, data_list: Sequence[str]) -> dict[str, Any]:
        primary, *fallbacks = [*data_list] or [""]
        chosen = dict.fromkeys(model for model in fallbacks if model)
        return {"primary": primary or "", "fallbacks": list(chosen)}


class RowsWidget(forms.MultiWidget):
    """Rows of several inputs each; an empty one adds another.

    Any number is taken back: `langbot_admin/prompt.js` adds, moves and removes them.
    Each kind of row says how it is read and written: `rows_of` and `row`.
    """

    main = 0  # the input that each row has to have
    add: ClassVar[Any]

    def decompress(self, value: Any) -> list[Any]:
        return self.rows_of(value)

    def rows_of(self, value: Any) -> list[list[str]]:
        """Return the texts of each row, as stored or as posted."""
        raise NotImplementedError  # no ABC: widgets have a metaclass of their own

    def blank(self, *, is_first: bool) -> list[str]:
        """Return the texts of a row that nobody has filled in."""
        return [""] * len(self.widgets)

    def row(
        self, name: str, number: int, row: list[str], given: Any, renderer: Any
    ) -> SafeString:
        """Return the inputs of one row."""
        raise NotImplementedError  # as above

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[list[str]]:
        # As many as a form may have (`DATA_UPLOAD_MAX_NUMBER_FIELDS`): none is dropped.
        posted = (f"{name}_{number}" for number in count())
        present = takewhile(lambda one: f"{one}_{self.main}" in data, posted)
        parts = list(enumerate(self.blank(is_first=True)))
        return [
            [data.get(f"{one}_{part}", text) for part, text in parts] for one in present
        ]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return f"{name}_0_{self.main}" not in data

    def id_for_label(self, id_: str, index: str | None = None) -> str:
        return f"{id_}_0_{self.main}" if id_ else id_

    def render(
        self, name: str, value: Any, attrs: Any = None, renderer: Any = None
    ) -> SafeString:
        given = {**self.attrs, **(attrs or {})}
        rows = [*self.rows_of(value), self.blank(is_first=not value)]
        shown = format_html_join(
            "",
            "{}",
            (
                (self.row(f"{name}_{number}", number, row, given, renderer),)
                for number, row in enumerate(rows)
            ),
        )
        return format_html(
            '<div class="lb-prompt" data-lb-prompt="{}" data-lb-add="{}"'
            ' data-lb-up="{}" data-lb-down="{}" data-lb-remove="{}"{}>{}</div>',
            name,
            self.add,
            _("Move up"),
            _("Move down"),
            _("Remove"),
            _flat(given, "data-show-field", "data-show-operator", "data-show-value"),
            shown,
        )


class PromptWidget(RowsWidget):
    """The messages of a prompt, each with its role."""

    main = 1
    add = _("Add a message")

    def __init__(self) -> None:
        role = forms.Select(choices=ROLES)
        super().__init__([role, forms.Textarea(attrs={"spellcheck": "true"})])

    def rows_of(self, value: Any) -> list[list[str]]:
        return pairs_of(value)

    def blank(self, *, is_first: bool) -> list[str]:
        return ["system" if is_first else "user", ""]

    def row(
        self, name: str, number: int, row: list[str], given: Any, renderer: Any
    ) -> SafeString:
        base = f"{given['id']}_{number}" if given.get("id") else name
        lines = row[1].count("\n") + len(row[1]) // 80 + 2
        shared = {"disabled": True} if given.get("disabled") else {}
        role = {**shared, "id": f"{base}_0", "aria-label": _("Role")}
        text = {
            **shared,
            "id": f"{base}_1",
            "aria-label": _("Text"),
            "rows": min(max(lines, 8 if row[1] or not number else 3), 40),
            "class": f"{self.widgets[1].attrs.get('class', '')} lb-code",
        }
        return format_html(
            '<div class="lb-message" role="group" aria-label="{}">{}{}</div>',
            _("Message %d") % (number + 1),
            self.widgets[0].render(f"{name}_0", row[0], role, renderer),
            self.widgets[1].render(f"{name}_1", row[1], text, renderer),
        )


class PromptField(forms.Field):
    """A list of `{"role", "content"}` messages (wire 4, `prompt-editor`)."""

    widget = PromptWidget

    def to_python(self, value: Any) -> list[dict[str, str]]:
        """Return the messages; one without text is none."""
        return [
            {"role": role, "content": text}
            for role, text in pairs_of(value)
            if text.strip()
        ]

    def validate(self, value: Any) -> None:
        super().validate(value)
        known = {role for role, _label in ROLES}
        if any(message["role"] not in known for message in value):
            raise ValidationError(_("Choose a role for each message."))

    def has_changed(self, initial: Any, data: Any) -> bool:
        same = self.to_python(initial) == self.to_python(data)
        return not self.disabled and not same

    def describe(self, value: Any) -> str:
        """Return the messages as one text."""
        names = {role: str(label) for role, label in ROLES}
        said = (f"{names.get(role, role)}:\n{text}" for role, text in pairs_of(value))
        return "\n\n".join(said) or "—"


def pairs_of(value: Any) -> list[list[str]]:
    """Return (role, text) of messages, as stored or as posted."""
    pairs = [
        [one["role"], one["content"]] if isinstance(one, Mapping) else list(one)
        for one in value or ()
    ]
    return [[role, text.replace("\r\n", "\n")] for role, text in pairs]


def _flat(attrs: Any, *names: str) -> SafeString:
    found = ((name, attrs[name]) for name in names if name in attrs)
    return format_html_join("", ' {}="{}"', found)


class SuggestingInput(forms.TextInput):
    """A text input with suggestions: any other text may be entered too."""

    def __init__(self, choices: Choices) -> None:
        super().__init__()
        self.choices = choices

    def render(
        self, name: str, value: Any, attrs: Any = None, renderer: Any = None
    ) -> SafeString:
        attrs = {**(attrs or {}), "list": f"{name}_suggestions"}
        options = format_html_join(
            "", '<option value="{}" label="{}"></option>', self.choices
        )
        return format_html(
            '{}<datalist id="{}">{}</datalist>',
            super().render(name, value, attrs, renderer),
            attrs["list"],
            options,
        )


def plain_text(text: str | Promise) -> str:
    """Return a text of a third party as the label of an HTML option."""
    return str(text)[:200]
