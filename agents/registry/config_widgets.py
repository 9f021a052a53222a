"""Form fields of runner settings that no single HTML input covers."""

from collections.abc import Sequence
from typing import Any

from django import forms
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


class ModelChainField(forms.MultiValueField):
    """`{"primary", "fallbacks"}` of wire 4."""

    def __init__(self, *, choices: Choices, fallbacks: int = 3, **kwargs: Any) -> None:
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

    def compress(self, data_list: Sequence[str]) -> dict[str, Any]:
        primary, *fallbacks = [*data_list] or [""]
        chosen = dict.fromkeys(model for model in fallbacks if model)
        return {"primary": primary or "", "fallbacks": list(chosen)}


class MessageWidget(forms.MultiWidget):
    """One message of a prompt: its role and its text."""

    def __init__(self, rows: int) -> None:
        role = forms.Select(attrs={"aria-label": _("Role")}, choices=ROLES)
        text = forms.Textarea(attrs={"rows": rows, "aria-label": _("Text")})
        super().__init__([role, text])

    def decompress(self, value: Any) -> list[Any]:
        return [value["role"], value["content"]] if value else ["system", ""]


class MessageField(forms.MultiValueField):
    """One message; without text it is no message."""

    def __init__(self, rows: int) -> None:
        role = forms.ChoiceField(choices=ROLES, required=False)
        text = forms.CharField(required=False, strip=False)
        super().__init__([role, text], widget=MessageWidget(rows), required=False)

    def compress(self, data_list: Sequence[str]) -> dict[str, str] | None:
        if len(data_list) < 2 or not data_list[1].strip():  # noqa: PLR2004  role, text
            return None
        role, content = data_list
        return {"role": role, "content": content.replace("\r\n", "\n")}


class PromptWidget(forms.MultiWidget):
    """The messages of a prompt and one empty row to add another."""

    def decompress(self, value: Any) -> list[Any]:
        return list(value or [])


class PromptField(forms.MultiValueField):
    """A list of `{"role", "content"}` messages (wire 4, `prompt-editor`)."""

    def __init__(self, *, messages: int, **kwargs: Any) -> None:
        sizes = [6, *[2] * max(messages, 1)]
        fields = [MessageField(rows) for rows in sizes]
        super().__init__(
            fields,
            widget=PromptWidget([MessageWidget(rows) for rows in sizes]),
            require_all_fields=False,
            **kwargs,
        )

    def compress(self, data_list: Sequence[Any]) -> list[dict[str, str]]:
        return [message for message in data_list if message]


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
