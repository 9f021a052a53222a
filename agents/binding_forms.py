"""A binding's form: its filters and its limits as typed fields."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from agents.bindings import check_binding
from agents.choices import BindingScope, ModelKind
from agents.forms import DELIVERY_AMBIGUOUS, STATE_SCOPES
from agents.models import AgentBinding
from agents.policies import DeliveryPolicy
from agents.registry.config_fields import Places, model_choices
from langbot.core.conflicts import ConflictForm
from langbot.lib.admin import dress
from langbot.lib.forms import LinesField

_LISTS = {
    "models": "only_models",
    "tools": "only_tools",
    "agents": "only_agents",
    "knowledge_bases": "only_kbs",
}
_FLAGS = ("plugin_storage", "workspace_storage", "artifacts")


class BindingForm(ConflictForm):
    """A binding; what the service would refuse is shown at its field."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is None:
            # What most people bind an agent to.
            self.initial = {"scope": BindingScope.BOT, **self.initial}

    class Meta:
        model = AgentBinding
        labels = {"scope_ref": gettext_lazy("Bot")}
        help_texts = {
            "scope": gettext_lazy("Whose events lead to the agent."),
            "scope_ref": gettext_lazy(
                "For “one bot”: its slug, as the list suggests it. Otherwise empty."
            ),
            "priority": gettext_lazy(
                "The higher one wins where two bindings match equally well."
            ),
        }
        fields = [
            "agent",
            "scope",
            "scope_ref",
            "event_pattern",
            "priority",
            "enabled",
        ]

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's hook, absent in stubs
        if self.errors or self.instance.agent_id is None:
            return
        try:
            check_binding(self.instance)
        except ValidationError as error:
            for name, found in error.message_dict.items():
                self.add_error(name if name in self.fields else None, found)


class FactsField(forms.CharField):
    """What events are compared with: `name = value` lines, values text or JSON."""

    widget = forms.Textarea(attrs={"rows": 3, "spellcheck": "false"})

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return "\n".join(f"{name} = {_written(fact)}" for name, fact in value.items())

    def to_python(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return value  # a disabled field cleans what is stored
        lines = [line.strip() for line in str(value or "").splitlines()]
        return dict(map(_fact, filter(None, lines)))

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return not self.disabled and (initial or {}) != self.to_python(data)
        except ValidationError:
            return True

    def describe(self, value: Any) -> str:
        """Return the lines."""
        return str(self.prepare_value(value) or "—")


class BindingPageForm(BindingForm):
    """A binding with its limits; whatever else a policy holds is left as it is."""

    places: ClassVar[Places] = None  # workspaces whose agents a new one may bind

    LIMITS: ClassVar[dict[str, tuple[str, ...]]] = {
        "resource_policy": ("withheld", *_LISTS.values()),
        "state_policy": ("stateless", "only_scopes"),
        "delivery_policy": (
            "own_delivery",
            "delivery_reply",
            "delivery_streaming",
            "delivery_reasoning",
            "delivery_maximum",
            "delivery_ambiguous",
        ),
    }

    filters = FactsField(
        label=gettext_lazy("Filters"),
        required=False,
        help_text=gettext_lazy(
            "One per line, such as actor = ada or text = help*; "
            'several values as a list: actor = ["ada", "ben"].'
        ),
    )
    withheld = forms.MultipleChoiceField(
        label=gettext_lazy("Withhold"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        choices=[
            ("models", gettext_lazy("all models")),
            ("tools", gettext_lazy("all tools")),
            ("agents", gettext_lazy("all agents that it may ask")),
            ("knowledge_bases", gettext_lazy("all knowledge bases")),
            ("plugin_storage", gettext_lazy("storage of its plugin")),
            ("workspace_storage", gettext_lazy("storage of the workspace")),
            ("artifacts", gettext_lazy("files of the conversation")),
        ],
    )
    only_models = forms.MultipleChoiceField(
        label=gettext_lazy("Only these models"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("None ticked: those of the agent."),
    )
    only_tools = LinesField(
        label=gettext_lazy("Only these tools"),
        required=False,
        help_text=gettext_lazy("One name per line; empty: those of the agent."),
    )
    only_agents = LinesField(
        label=gettext_lazy("Only these agents"),
        required=False,
        help_text=gettext_lazy("One short name per line; empty: those of the agent."),
    )
    only_kbs = LinesField(
        label=gettext_lazy("Only these knowledge bases"),
        required=False,
        help_text=gettext_lazy("One id per line; empty: those of the agent."),
    )
    stateless = forms.BooleanField(label=gettext_lazy("Keep no state"), required=False)
    only_scopes = forms.MultipleChoiceField(
        label=gettext_lazy("State only of"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        choices=STATE_SCOPES,
        help_text=gettext_lazy("None ticked: as the agent says."),
    )
    own_delivery = forms.BooleanField(
        label=gettext_lazy("Reply differently"),
        required=False,
        help_text=gettext_lazy("Off: as the agent says, whatever is entered below."),
    )
    delivery_reply = forms.BooleanField(
        label=gettext_lazy("Send replies"), required=False
    )
    delivery_streaming = forms.BooleanField(
        label=gettext_lazy("Stream replies"), required=False
    )
    delivery_reasoning = forms.BooleanField(
        label=gettext_lazy("Show reasoning"),
        required=False,
        help_text=gettext_lazy("Never where the agent hides it."),
    )
    delivery_maximum = forms.IntegerField(
        label=gettext_lazy("Longest message"),
        required=False,
        min_value=1,
        help_text=gettext_lazy("Characters; empty means the platform's own limit."),
    )
    delivery_ambiguous = forms.ChoiceField(
        label=gettext_lazy("When it is unclear whether a reply arrived"),
        choices=DELIVERY_AMBIGUOUS,
    )

    class Meta(BindingForm.Meta):
        fields = [*BindingForm.Meta.fields, "filters"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        shown = {name: self.fields[name] for name in self.declared_fields}
        if "only_models" in shown:
            self.initial = {**self._limits(), **self.initial}
            models: Any = shown["only_models"]
            models.choices = self._models()
        dress(shown.values())

    def _limits(self) -> dict[str, Any]:
        """Return the fields' values of the stored policies."""
        resources = self.instance.resource_policy or {}
        state = self.instance.state_policy or {}
        given = self.instance.delivery_policy
        delivery = DeliveryPolicy.model_validate(given or {})
        flags = [name for name in _FLAGS if resources.get(name) is False]
        lists = [name for name in _LISTS if resources.get(name) == []]
        return {
            "withheld": [*lists, *flags],
            **{field: resources.get(name) or [] for name, field in _LISTS.items()},
            "stateless": state.get("enabled") is False,
            "only_scopes": state.get("scopes") or [],
            "own_delivery": given is not None,
            "delivery_reply": delivery.reply,
            "delivery_streaming": delivery.streaming,
            "delivery_reasoning": delivery.show_reasoning,
            "delivery_maximum": delivery.maximum_message_size,
            "delivery_ambiguous": delivery.ambiguous,
        }

    def _models(self) -> list[tuple[str, Any]]:
        agent = self.instance.agent if self.instance.agent_id else None
        places = agent.workspace if agent is not None else self.places
        offered = [
            choice for kind in ModelKind for choice in model_choices(kind, places)
        ]
        known = {name for name, _label in offered}
        missing = set(self.initial["only_models"]) - known
        return [*offered, *((name, _("%s (missing)") % name) for name in missing)]

    def _post_clean(self) -> None:
        touched = set(self.changed_data)
        for policy, names in self.LIMITS.items():
            # What nobody touched stays as it was written, by REST for instance.
            if touched & set(names) and not self.errors.keys() & set(names):
                setattr(self.instance, policy, getattr(self, f"_{policy}")())
        super()._post_clean()

    def _resource_policy(self) -> dict[str, Any] | None:
        given = self.cleaned_data
        known = {*_LISTS, *_FLAGS}
        stored = self.instance.resource_policy or {}
        policy = {name: value for name, value in stored.items() if name not in known}
        policy |= {name: given[field] for name, field in _LISTS.items() if given[field]}
        policy |= {n: [] if n in _LISTS else False for n in given["withheld"]}
        return policy or None

    def _state_policy(self) -> dict[str, Any] | None:
        given = self.cleaned_data
        stored = self.instance.state_policy or {}
        known = {"enabled", "scopes"}
        policy = {name: value for name, value in stored.items() if name not in known}
        if given["stateless"]:
            policy["enabled"] = False
        if given["only_scopes"]:
            policy["scopes"] = given["only_scopes"]
        return policy or None

    def _delivery_policy(self) -> dict[str, Any] | None:
        given = self.cleaned_data
        if not given["own_delivery"]:
            return None
        return {
            "reply": given["delivery_reply"],
            "streaming": given["delivery_streaming"],
            "show_reasoning": given["delivery_reasoning"],
            "maximum_message_size": given["delivery_maximum"],
            "ambiguous": given["delivery_ambiguous"],
        }


def _fact(line: str) -> tuple[str, Any]:
    name, equals, text = line.partition("=")
    if not equals or not name.strip():
        raise ValidationError(_("Write each filter as name = value: %s") % line)
    return name.strip(), _read(text.strip())


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _written(fact: Any) -> str:
    """Return a fact so that it is read back as it is; text stays bare if it can."""
    plain = isinstance(fact, str) and fact == fact.strip() and _read(fact) == fact
    return str(fact) if plain and fact else json.dumps(fact, ensure_ascii=False)
