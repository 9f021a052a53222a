"""Native form fields for a runner's config schema: what the agent form grows."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.html import escape
from django.utils.translation import gettext_lazy as _

from agents.registry.config_items import (
    KNOWLEDGE_SELECTOR,
    MODEL_KINDS,
    ConfigItem,
    localized,
    model_chain,
    read_schema,
)
from agents.registry.config_widgets import (
    ROLES,
    Choices,
    ModelChainField,
    OptionalBooleanField,
    PromptField,
    SuggestingInput,
    plain_text,
)
from agents.resources.models import Model
from langbot.core.models import Workspace
from langbot.lib.forms import LinesField, ReadableJSONField, SecretField

FALLBACKS = 3  # rows offered; a longer stored chain gets as many as it has


# One workspace, several, or all of them.
Places = Workspace | QuerySet[Workspace] | None


class _Builder:
    """Makes the field of one item, knowing the stored values and the models."""

    def __init__(
        self, language: str, values: Mapping[str, Any], workspace: Places
    ) -> None:
        self.language = language
        self.values = values
        self.workspace = workspace

    def build(self, item: ConfigItem) -> forms.Field:
        value = self.values.get(item.name)
        value = item.default if value is None else value
        field = _FIELDS.get(item.type, _json)(self, item, value)
        if not item.is_secret:
            field.initial = value
        _propose(item, field)
        if item.id:
            field.widget.attrs["data-setting"] = item.id
        if item.show_if is not None:
            field.widget.attrs |= {
                "data-show-field": item.show_if.field,
                "data-show-operator": item.show_if.operator,
                "data-show-value": json.dumps(item.show_if.value),
            }
        return field

    def base(self, item: ConfigItem) -> dict[str, Any]:
        return {
            "label": localized(item.label, self.language) or item.name,
            # Django's templates print help texts unescaped; this one is a stranger's.
            "help_text": escape(localized(item.description, self.language)),
            # A field that may be hidden is checked on the server, by validate_config.
            "required": item.required and item.show_if is None,
        }

    def models(self, item: ConfigItem, value: Any) -> Choices:
        choices = model_choices(MODEL_KINDS[item.type], self.workspace)
        offered = {name for name, _label in choices}
        stored = [name for name in model_chain(value) if name]
        missing = [name for name in stored if name not in offered]
        return [*choices, *((name, _("%s (missing)") % name) for name in missing)]


def _propose(item: ConfigItem, field: Any) -> None:
    """Begin with the only model there is, where one is required and none is chosen.

    A `proposed` value is one that nobody touched and that is stored all the same.
    """
    if not item.required or item.type not in MODEL_KINDS:
        return
    is_chain = isinstance(field, ModelChainField)
    offered = field.offered if is_chain else field.choices
    models = [name for name, _label in offered if name]
    if len(models) == 1 and not any(model_chain(field.initial)):
        only = models[0]
        field.initial = {"primary": only, "fallbacks": []} if is_chain else only
        field.proposed = True


def form_fields(
    schema: list[dict[str, Any]],
    language: str,
    *,
    values: Mapping[str, Any] | None = None,
    workspace: Places = None,
) -> dict[str, forms.Field]:
    """Return one typed field per schema entry, by its name, in the schema's order.

    `values` is the stored configuration: initial values, and what the fields must be
    able to hold. Model selectors offer the enabled models of `workspace` (one or
    several), or of all.
    """
    builder = _Builder(language, values or {}, workspace)
    return {item.name: builder.build(item) for item in read_schema(schema)}


def model_choices(kind: str, places: Places = None) -> Choices:
    """Return (public id, label) of the enabled models of a kind in these workspaces."""
    models = Model.objects.filter(
        kind=kind, enabled=True, provider__enabled=True
    ).select_related("provider__workspace")
    if places is not None:
        wanted = [places] if isinstance(places, Workspace) else places
        models = models.filter(provider__workspace__in=wanted)
    several = len({model.provider.workspace_id for model in models}) > 1
    return [
        (
            str(model.public_id),
            f"{model.provider.workspace} · {model}" if several else str(model),
        )
        for model in models
    ]


def _string(builder: _Builder, item: ConfigItem, value: Any) -> forms.Field:
    return forms.CharField(**builder.base(item))


def _text(builder: _Builder, item: ConfigItem, value: Any) -> forms.Field:
    area = forms.Textarea(attrs={"rows": 4})
    return forms.CharField(widget=area, strip=False, **builder.base(item))


def _secret(builder: _Builder, item: ConfigItem, value: Any) -> forms.Field:
    return SecretField(stored=bool(builder.values.get(item.name)), **builder.base(item))


def _integer(builder: _Builder, item: ConfigItem, value: Any) -> forms.Field:
    return forms.IntegerField(**builder.base(item))


def _number(builder: _Builder, item: ConfigItem, value: Any) -> forms.Field:
    return forms.FloatField(**builder.base(item))


def _boolean(builder: _Builder, item: ConfigItem, value: Any) -> forms.Field:
    return OptionalBooleanField(**builder.base(item))


def _select(builder: _Builder, item: ConfigItem, value: Any) -> forms.Field:
    choices: Choices = [
        (str(option.name), plain_text(localized(option.label, builder.language)))
        for option in item.options
    ]
    if item.allow_custom:
        return forms.CharField(widget=SuggestingInput(choices), **builder.base(item))
    by_name = {str(option.name): option.name for option in item.options}
    if not item.required:
        choices = [("", "—"), *choices]
    return forms.TypedChoiceField(
        choices=choices,
        coerce=lambda name: by_name.get(name, name),
        empty_value=None,
        **builder.base(item),
    )


def _array(builder: _Builder, item: ConfigItem, value: Any) -> forms.Field:
    if isinstance(value, list) and not all(isinstance(one, str) for one in value):
        return _json(builder, item, value)
    base = builder.base(item)
    base["help_text"] = base["help_text"] or _("One per line.")
    return LinesField(**base)


def _json(builder: _Builder, item: ConfigItem, value: Any) -> forms.Field:
    return ReadableJSONField(**builder.base(item))


def _prompt(builder: _Builder, item: ConfigItem, value: Any) -> forms.Field:
    if not _is_editable_prompt(value):
        return _json(builder, item, value)
    base = builder.base(item)
    base["help_text"] = base["help_text"] or _("A message left empty is dropped.")
    return PromptField(**base)


def _is_editable_prompt(value: Any) -> bool:
    """Say whether rows of role and text can hold the prompt without loss."""
    roles = {role for role, _label in ROLES}
    return value is None or (
        isinstance(value, list)
        and all(
            isinstance(message, Mapping)
            and set(message) == {"role", "content"}
            and message["role"] in roles
            and isinstance(message["content"], str)
            for message in value
        )
    )


def _model(builder: _Builder, item: ConfigItem, value: Any) -> forms.Field:
    choices = [("", "—"), *builder.models(item, value)]
    return forms.ChoiceField(choices=choices, **builder.base(item))


def _model_chain(builder: _Builder, item: ConfigItem, value: Any) -> forms.Field:
    return ModelChainField(
        choices=builder.models(item, value),
        fallbacks=max(FALLBACKS, len(model_chain(value)) - 1),
        **builder.base(item),
    )


_FIELDS: dict[str, Callable[[_Builder, ConfigItem, Any], forms.Field]] = {
    "string": _string,
    "text": _text,
    "secret": _secret,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "select": _select,
    "array": _array,
    "prompt-editor": _prompt,
    "model-fallback-selector": _model_chain,
    "llm-model-selector": _model,
    "rerank-model-selector": _model,
    KNOWLEDGE_SELECTOR: _array,
}
