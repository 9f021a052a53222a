"""Checks a runner's configuration against the schema its plugin published (wire 4)."""

import json
import math
from collections.abc import Callable, KeysView, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from agents.config_secrets import is_readable, is_sealed
from agents.registry.config_fields import form_fields
from agents.registry.config_items import (
    ARRAYS,
    KNOWLEDGE_SELECTOR,
    MODEL_KINDS,
    NOT_CHOSEN,
    ConfigItem,
    localized,
    model_chain,
    read_schema,
)

MAXIMUM_BYTES = 256 * 1024  # of one configuration as JSON; far over any real one


class WrongValueError(ValueError):
    """A value that its field does not take; carries the message for the admin."""

    def __init__(self, message: str | Promise) -> None:
        super().__init__(message)
        self.message = message


def validate_config(
    schema: list[dict[str, Any]], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the configuration with defaults filled in.

    Secrets may be plain text or sealed (`agents.config_secrets`). Raises
    ValidationError keyed by field name, one message each.
    """
    items = read_schema(schema)
    known = {item.name for item in items}
    problems: dict[str, Any] = {
        name: _("The runner has no such setting.") for name in config.keys() - known
    }
    filled = {item.name: _filled(item, config) for item in items}
    result = {}
    for item in items:
        value = filled[item.name]
        try:
            value = _checked(item, value, filled)
        except WrongValueError as error:
            problems[item.name] = error.message
        if value is not None:
            result[item.name] = value
    if problems:
        raise ValidationError(problems)
    _check_size(result)
    return result


def with_defaults(schema: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with the schema's defaults where nothing was chosen.

    An agent is saved with them, but its plugin may come, or learn a setting, later.
    """
    filled = {item.name: _filled(item, config) for item in read_schema(schema)}
    every = {**config, **filled}
    return {name: value for name, value in every.items() if value is not None}


def _checked(item: ConfigItem, value: Any, filled: Mapping[str, Any]) -> Any:
    """Return the value as it is kept; raises WrongValueError."""
    if is_sealed(value):
        _check_seal(item, value)
    elif not is_empty(value):
        return _CHECKS.get(item.type, _anything)(item, value)
    elif item.required and item.is_shown(filled):
        raise WrongValueError(_("This setting is required."))
    return value


def is_empty(value: Any) -> bool:
    """Say whether a required field would still be missing."""
    if isinstance(value, Mapping) and "primary" in value:
        return value["primary"] in (None, "", NOT_CHOSEN)
    return value is None or value in ("", NOT_CHOSEN, [], [NOT_CHOSEN], {})


def _filled(item: ConfigItem, config: Mapping[str, Any]) -> Any:
    value = config.get(item.name)
    return item.default if value is None else value


def _check_size(config: dict[str, Any]) -> None:
    if len(json.dumps(config)) > MAXIMUM_BYTES:
        message = _("The configuration is larger than 256 KiB.")
        raise ValidationError({"__all__": message})


def _check_seal(item: ConfigItem, value: Any) -> None:
    if not item.is_secret or not is_readable(value):
        raise WrongValueError(_("This secret cannot be read; enter it again."))


def _anything(item: ConfigItem, value: Any) -> Any:
    return value


def _text(item: ConfigItem, value: Any) -> Any:
    if not isinstance(value, str):
        raise WrongValueError(_("Enter text."))
    return value


def _integer(item: ConfigItem, value: Any) -> Any:
    number = _number(item, value)
    if number != int(number):
        raise WrongValueError(_("Enter a whole number."))
    return int(number)


def _number(item: ConfigItem, value: Any) -> Any:
    wrong = isinstance(value, bool) or not isinstance(value, int | float)
    if wrong or not math.isfinite(value):
        raise WrongValueError(_("Enter a number."))
    return value


def _boolean(item: ConfigItem, value: Any) -> Any:
    if not isinstance(value, bool):
        raise WrongValueError(_("Choose yes or no."))
    return value


def _select(item: ConfigItem, value: Any) -> Any:
    names = [option.name for option in item.options]
    if value in names or (item.allow_custom and isinstance(value, str)):
        return value
    raise WrongValueError(
        _("Choose one of: %(names)s.") % {"names": ", ".join(map(str, names))}
    )


def _array(item: ConfigItem, value: Any) -> Any:
    if not isinstance(value, list):
        raise WrongValueError(_("Enter a list."))
    return value


def _strings(item: ConfigItem, value: Any) -> Any:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise WrongValueError(_("Enter a list of ids."))
    return value


def _prompt(item: ConfigItem, value: Any) -> Any:
    if isinstance(value, str):
        return [{"role": "system", "content": value}]
    if not isinstance(value, list) or not all(map(_is_message, value)):
        raise WrongValueError(_("Enter messages with a role and content."))
    return value


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("role"), str)
        and isinstance(value.get("content"), str | list)
    )


def _fallback_model(item: ConfigItem, value: Any) -> Any:
    if isinstance(value, str):
        return {"primary": value, "fallbacks": []}
    if not isinstance(value, Mapping) or not isinstance(value.get("primary"), str):
        raise WrongValueError(_("Choose a model and, if you like, fallbacks."))
    fallbacks = _strings(item, value.get("fallbacks") or [])
    return {**value, "fallbacks": fallbacks}


_CHECKS: dict[str, Callable[[ConfigItem, Any], Any]] = {
    "string": _text,
    "text": _text,
    "secret": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "select": _select,
    "array": _array,
    "prompt-editor": _prompt,
    "model-fallback-selector": _fallback_model,
    "llm-model-selector": _text,
    "rerank-model-selector": _text,
    KNOWLEDGE_SELECTOR: _strings,
}


def without_required_secrets(schema: Any) -> list[dict[str, Any]]:
    """Return the schema for a configuration whose secrets people enter later."""
    entries = schema if isinstance(schema, list) else []
    return [
        {**entry, "required": False}
        if ConfigItem.read(entry).is_secret
        else dict(entry)
        for entry in entries
        if isinstance(entry, Mapping)
    ]


def selected_models(
    schema: list[dict[str, Any]], config: Mapping[str, Any]
) -> KeysView[str]:
    """Return the ids of the models that a configuration names, in order (LB-10)."""
    found: dict[str, None] = {}
    for item in read_schema(schema):
        if item.type in MODEL_KINDS:
            found |= dict.fromkeys(model_chain(config.get(item.name)))
    found.pop("", None)
    return found.keys()


def selected_bases(
    schema: list[dict[str, Any]], config: Mapping[str, Any]
) -> list[str]:
    """Return the ids of the knowledge bases that a configuration names, in order."""
    found: list[str] = []
    for item in read_schema(schema):
        chosen = config.get(item.name) if item.type == KNOWLEDGE_SELECTOR else None
        if isinstance(chosen, list):
            found += [name for name in chosen if isinstance(name, str)]
    return found


__all__ = [
    "ARRAYS",
    "WrongValueError",
    "form_fields",
    "is_empty",
    "localized",
    "read_schema",
    "selected_bases",
    "selected_models",
    "validate_config",
    "with_defaults",
    "without_required_secrets",
]
