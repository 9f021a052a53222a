"""One field of a runner's config schema, as plugins write it (wire 4), read leniently.

Plugins are third parties: whatever is malformed gets a harmless reading here, so that
one odd field never takes the whole form away.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

KNOWLEDGE_SELECTOR = "knowledge-base-multi-selector"
ARRAYS = frozenset({"array", KNOWLEDGE_SELECTOR})
MODEL_KINDS = {
    "model-fallback-selector": "llm",
    "llm-model-selector": "llm",
    "rerank-model-selector": "rerank",
}
NOT_CHOSEN = "__none__"  # how LangBot's own forms spell an empty selector (LB-49)
_OLD_TYPES = {
    "select-llm-model": "llm-model-selector",
    "select-knowledge-bases": KNOWLEDGE_SELECTOR,
}
_TEXTS = frozenset({"string", "text"})
# Narrower than what is taken out of logs: n8n's `output-key` names a field.
_SECRET_NAME = re.compile(
    r"secret|password|passwd|credential|authorization|auth[-_]?header"
    r"|(api|access|private|signing|encryption)[-_]?key|(^|[-_])token$",
    re.IGNORECASE,
)
_LOCALES = {"en": "en_US", "zh": "zh_Hans", "zh_cn": "zh_Hans", "zh_tw": "zh_Hant"}


@dataclass(frozen=True, slots=True)
class Option:
    """A choice of a `select` field."""

    name: Any
    label: Mapping[str, Any] | str


@dataclass(frozen=True, slots=True)
class Condition:
    """When a field is shown: another field of the form compared with a value."""

    field: str
    operator: str
    value: Any

    def holds(self, config: Mapping[str, Any]) -> bool:
        """Say whether the field is shown; an unknown operator always shows it."""
        actual = config.get(self.field)
        wanted = self.value if isinstance(self.value, list) else [self.value]
        match self.operator:
            case "eq" | "==" | "equals" | "in":
                return actual in wanted
            case "neq" | "ne" | "!=" | "not_equals" | "not_in":
                return actual not in wanted
            case _:
                return True


@dataclass(frozen=True, slots=True)
class ConfigItem:
    """A field of the schema; `id` is its name among the fields of all runners."""

    id: str
    name: str
    type: str
    label: Mapping[str, Any] | str
    description: Mapping[str, Any] | str
    required: bool
    default: Any
    options: tuple[Option, ...]
    allow_custom: bool
    show_if: Condition | None

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """Read one entry of `config_schema`."""
        name = str(raw.get("name") or "")
        return cls(
            id=str(raw.get("id") or ""),
            name=name,
            type=_type(str(raw.get("type") or "string"), name),
            label=raw.get("label") or name,
            description=raw.get("description") or "",
            required=raw.get("required") is True,
            default=raw.get("default"),
            options=tuple(_options(raw.get("options"))),
            allow_custom=raw.get("allow_custom") is True,
            show_if=_condition(raw.get("show_if")),
        )

    @property
    def is_secret(self) -> bool:
        """Whether values must be encrypted and never shown."""
        return self.type == "secret"

    def is_shown(self, config: Mapping[str, Any]) -> bool:
        """Whether the form shows this field for these values."""
        return self.show_if is None or self.show_if.holds(config)


def _type(given: str, name: str) -> str:
    """Return the type of a field; a text that is called a password is a secret.

    Official plugins declare theirs as plain strings (n8n's `jwt-secret`).
    """
    is_secret = given in _TEXTS and _SECRET_NAME.search(name) is not None
    return "secret" if is_secret else _OLD_TYPES.get(given, given)


def read_schema(schema: Any) -> list[ConfigItem]:
    """Read a `config_schema`; entries without a name are left out."""
    entries = schema if isinstance(schema, list) else []
    items = [ConfigItem.read(raw) for raw in entries if isinstance(raw, Mapping)]
    return [item for item in items if item.name]


def model_chain(value: Any) -> list[str]:
    """Return the model ids of a selector's value: the first one and its fallbacks."""
    if not isinstance(value, Mapping):
        named: list[Any] = [value] if isinstance(value, str) else []
    else:
        others = value.get("fallbacks")
        named = [value.get("primary"), *(others if isinstance(others, list) else ())]
    chosen = [name if isinstance(name, str) else "" for name in named]
    return ["" if name == NOT_CHOSEN else name for name in chosen]


def localized(texts: Any, language: str) -> str:
    """Choose the text of a language (`zh-hans`, `en_US`), English else, any else."""
    if not isinstance(texts, Mapping):
        return str(texts or "")
    known = {_normal(str(locale)): str(text) for locale, text in texts.items() if text}
    for wanted in (_normal(language), "en_us"):
        if wanted in known:
            return known[wanted]
    return next(iter(known.values()), "")


def _normal(locale: str) -> str:
    name = locale.replace("-", "_").lower()
    return _LOCALES.get(name, name).lower()


def _options(raw: Any) -> list[Option]:
    options = []
    for entry in raw if isinstance(raw, Sequence) and not isinstance(raw, str) else ():
        if isinstance(entry, Mapping):
            name = entry.get("name")
            options.append(Option(name, entry.get("label") or str(name)))
        else:
            options.append(Option(entry, str(entry)))
    return options


def _condition(raw: Any) -> Condition | None:
    if not isinstance(raw, Mapping) or not raw.get("field"):
        return None
    operator = str(raw.get("operator") or "eq")
    return Condition(str(raw["field"]), operator, raw.get("value"))
