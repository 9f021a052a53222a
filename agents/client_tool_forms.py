"""The tools of clients as typed rows of an agent's form."""

import json
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from pydantic import ValidationError as PolicyError
from rest_framework.exceptions import ParseError

from agents.policies import ClientTool
from agents.registry.config_widgets import RowsWidget
from langbot.core.parsing import StrictJSONParser, check_storable

_SCHEMA = 2  # which part of a row is JSON
_CAPTIONS: dict[str, Any] = {
    "name": gettext_lazy("Name"),
    "description": gettext_lazy("What it does, for the model"),
    "parameters": gettext_lazy("Parameters (JSON schema)"),
}
_TOO_LONG = gettext_lazy("Enter at most %(max_length)d characters.")
# What the policy's schema says, in the words of the form.
_PROBLEMS: dict[str, Any] = {
    "string_pattern_mismatch": gettext_lazy(
        "Enter 1 to 64 letters, digits, underscores or hyphens."
    ),
    "string_too_long": _TOO_LONG,
    "json_too_long": _TOO_LONG,
    "dict_type": gettext_lazy("Enter a JSON object."),
}


class ClientToolsWidget(RowsWidget):
    """A name, a description and a schema for each tool."""

    add = gettext_lazy("Add a tool")

    def __init__(self) -> None:
        name = forms.TextInput(attrs={"spellcheck": "false"})
        schema = forms.Textarea(attrs={"spellcheck": "false"})
        super().__init__([name, forms.Textarea(), schema])

    def rows_of(self, value: Any) -> list[list[str]]:
        return rows_of(value)

    def row(
        self, name: str, number: int, row: list[str], given: Any, renderer: Any
    ) -> SafeString:
        base = f"{given['id']}_{number}" if given.get("id") else name
        inputs = (
            self._input(part, text, (f"{name}_{part}", f"{base}_{part}"), given)
            for part, text in enumerate(row)
        )
        return format_html(
            '<div class="lb-message lb-tool" role="group" aria-label="{}">{}</div>',
            _("Tool %d") % (number + 1),
            format_html_join(
                "",
                "<label><span>{}</span>{}</label>",
                zip(_CAPTIONS.values(), inputs, strict=True),
            ),
        )

    def _input(
        self, part: int, text: str, names: tuple[str, str], given: Any
    ) -> SafeString:
        name, key = names
        attrs: dict[str, Any] = {"id": key}
        if given.get("disabled"):
            attrs["disabled"] = True
        if part:
            attrs["rows"] = min(max(text.count("\n") + 1, 2 * part), 24)
        if part == _SCHEMA:
            usual = self.widgets[part].attrs.get("class", "")
            attrs["class"] = f"{usual} lb-code"
        return self.widgets[part].render(name, text, attrs)


class ClientToolsField(forms.Field):
    """A list of tools as `ResourcePolicy` keeps them, checked by its own schema."""

    widget = ClientToolsWidget

    def to_python(self, value: Any) -> list[dict[str, Any]]:
        """Return the tools; a row without any text is none."""
        tools, problems = [], []
        for number, row in enumerate(rows_of(value), 1):
            if not any(text.strip() for text in row):
                continue
            try:
                tools.append(_read(row))
            except ValidationError as error:
                tool = _("Tool %d") % number
                problems += [f"{tool} · {message}" for message in error.messages]
        if problems:
            raise ValidationError(problems)
        return tools

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            same = self.to_python(initial) == self.to_python(data)
        except ValidationError:
            same = False
        return not self.disabled and not same

    def describe(self, value: Any) -> str:
        """Return the tools as people compare them."""
        return (
            "\n\n".join("\n".join(filter(None, row)) for row in rows_of(value)) or "—"
        )


def rows_of(value: Any) -> list[list[str]]:
    """Return the texts of each tool, as stored or as posted."""
    return [
        _texts(one) if isinstance(one, Mapping) else [_lines(text) for text in one]
        for one in value or ()
    ]


def _texts(tool: Mapping[str, Any]) -> list[str]:
    schema = json.dumps(tool.get("parameters", {}), indent=2, ensure_ascii=False)
    return [tool["name"], tool.get("description", ""), schema]


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n")


def _read(row: list[str]) -> dict[str, Any]:
    """Return the tool of a row as it is stored; raises ValidationError."""
    name, description, schema = row
    given: dict[str, Any] = {"name": name.strip(), "description": description}
    try:
        part = "description"
        check_storable(description)
        part = "parameters"
        if schema.strip():
            given[part] = StrictJSONParser().parse(
                BytesIO(schema.encode("utf-8", "surrogatepass"))
            )
        return ClientTool.model_validate(given).model_dump()
    except ParseError as error:
        raise ValidationError(f"{_CAPTIONS[part]}: {error.detail}") from None
    except PolicyError as error:
        raise ValidationError(list(_problems(error))) from None


def _problems(error: PolicyError) -> Iterator[str]:
    for issue in error.errors():
        text = _PROBLEMS.get(issue["type"])
        words = issue["msg"] if text is None else str(text) % issue.get("ctx", {})
        yield f"{_CAPTIONS[str(issue['loc'][0])]}: {words}"


__all__ = ["ClientToolsField", "rows_of"]
