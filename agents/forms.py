"""Forms that grow: the fields of a runner's or an adapter's schema beside our own."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from agents.choices import ModelKind
from agents.client_tool_forms import ClientToolsField
from agents.config_secrets import is_sealed, mask_config
from agents.models import Agent, default_event_types
from agents.policies import (
    REASON_CHARACTERS,
    ApprovalPolicy,
    DeliveryPolicy,
    ResourcePolicy,
    StatePolicy,
)
from agents.registry.config_fields import Places, model_choices
from agents.services import check_config
from langbot.core.conflicts import ConflictForm
from langbot.lib.admin import dress
from langbot.lib.forms import LinesField

PREFIX = "config__"
GROWN_FOR = "grown_for"
STATE_SCOPES = [
    ("conversation", _("the conversation")),
    ("actor", _("the person")),
    ("subject", _("the subject of an event")),
    ("runner", _("the runner as a whole")),
]
DELIVERY_AMBIGUOUS = [
    ("uncertain", _("do not repeat it, show it as uncertain")),
    ("at_least_once", _("send it again, even if it may arrive twice")),
]


class GrowingForm(ConflictForm):
    """A form with the settings of one choice, each as a field `config__<name>`.

    A hidden field carries the choice whose settings the browser showed. When another
    one is posted (no script, or a slow one), nothing is saved: the form comes back
    with the right settings.
    """

    grows_from: ClassVar[str]
    places: ClassVar[Places] = None  # workspaces that a new row may come to
    grown_for = forms.CharField(label="", required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_stale = False
        if self.is_bound:
            self._follow_choice()
        # The theme's own widgets are already dressed: only declared fields are not.
        dress(
            field for name, field in self.fields.items() if name in self.declared_fields
        )

    def is_guarded(self, name: str) -> bool:
        """Settings are compared only while they are those of the stored choice."""
        if name == GROWN_FOR:
            return False
        if name.startswith(PREFIX) and self.is_bound:
            stored = self.initial.get(self.grows_from)
            return bool(self.data.get(GROWN_FOR, "") == stored)
        return super().is_guarded(name)

    def _follow_choice(self) -> None:
        choice = self.data.get(self.grows_from, "")
        if self.takes_theirs(self.grows_from):
            choice = self.initial.get(self.grows_from, "")
        if GROWN_FOR not in self.fields or self.data.get(GROWN_FOR, "") == choice:
            return
        self.is_stale = True
        # What was posted belongs to the former choice: the new fields get defaults.
        shown = {GROWN_FOR: choice}
        for name, field in self.fields.items():
            if name.startswith(PREFIX) and isinstance(field, forms.BooleanField):
                shown[name] = "on" if field.initial else ""
        data = QueryDict(mutable=True)
        data.update(self.data)
        for name, value in shown.items():
            data[name] = value
        self.data = data

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if self.is_stale:
            for name in [name for name in self.errors if name.startswith(PREFIX)]:
                del self.errors[name]
            if self.grows_from not in self.errors:
                message = _("Check the settings of the new choice, then save again.")
                self.add_error(self.grows_from, message)
        return cleaned

    def settings(self) -> dict[str, Any]:
        """Return the entered settings; those left empty are not among them."""
        return {
            name.removeprefix(PREFIX): value
            for name, value in self.cleaned_data.items()
            if name.startswith(PREFIX) and value is not None
        }

    def add_setting_errors(self, problems: Mapping[str, list[str]]) -> None:
        """Put each problem at its field, or above the form where none is shown."""
        for name, found in problems.items():
            field = PREFIX + name
            if field in self.errors:
                continue
            for message in found:
                if field in self.fields:
                    self.add_error(field, message)
                elif name in self.fields:
                    self.add_error(name, message)
                else:
                    shown = message if name == "__all__" else f"{name}: {message}"
                    self.add_error(None, shown)


def _yes(label: Any, help_text: Any = "") -> forms.BooleanField:
    return forms.BooleanField(label=label, help_text=help_text, required=False)


class AgentForm(GrowingForm):
    """An agent with its policies as typed fields."""

    grows_from = "runner_id"
    # form field -> where it lives; everything else in a policy is left as it is
    POLICY_FIELDS: ClassVar[dict[str, tuple[str, str]]] = {
        "resource_models": ("resource_policy", "models"),
        "resource_tools": ("resource_policy", "tools"),
        "resource_agents": ("resource_policy", "agents"),
        "resource_client_tools": ("resource_policy", "client_tools"),
        "resource_knowledge_bases": ("resource_policy", "knowledge_bases"),
        "resource_plugin_storage": ("resource_policy", "plugin_storage"),
        "resource_workspace_storage": ("resource_policy", "workspace_storage"),
        "resource_artifacts": ("resource_policy", "artifacts"),
        "state_enabled": ("state_policy", "enabled"),
        "state_scopes": ("state_policy", "scopes"),
        "state_expire": ("state_policy", "expire_seconds"),
        "delivery_reply": ("delivery_policy", "reply"),
        "delivery_streaming": ("delivery_policy", "streaming"),
        "delivery_reasoning": ("delivery_policy", "show_reasoning"),
        "delivery_maximum": ("delivery_policy", "maximum_message_size"),
        "delivery_ambiguous": ("delivery_policy", "ambiguous"),
        "approval_enabled": ("approval_policy", "enabled"),
        "approval_mode": ("approval_policy", "mode"),
        "approval_allow": ("approval_policy", "allow"),
        "approval_ask": ("approval_policy", "ask"),
        "approval_deny": ("approval_policy", "deny"),
        "approval_reason": ("approval_policy", "reason"),
    }
    POLICIES: ClassVar[dict[str, Any]] = {
        "resource_policy": ResourcePolicy,
        "state_policy": StatePolicy,
        "delivery_policy": DeliveryPolicy,
        "approval_policy": ApprovalPolicy,
    }

    runner_id = forms.ChoiceField(label=_("Runner"))
    event_types = LinesField(
        label=_("Event types"),
        initial=default_event_types,
        help_text=_("One per line, such as message.received or message.*"),
    )
    resource_models = forms.MultipleChoiceField(
        label=_("More models"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Beyond those that its settings name."),
    )
    resource_tools = LinesField(
        label=_("Tools"), required=False, help_text=_("One name per line.")
    )
    resource_agents = LinesField(
        label=_("Agents it may ask"),
        required=False,
        help_text=_(
            "One short name per line. Each becomes a tool; what it does for this agent "
            "it may do only as far as this agent may, so give this one its models too."
        ),
    )
    resource_client_tools = ClientToolsField(
        label=_("Tools of clients"),
        required=False,
        help_text=_(
            "A program that is connected to a run executes them. A run has those that "
            "its message says the sender can execute."
        ),
    )
    resource_knowledge_bases = LinesField(
        label=_("Knowledge bases"), required=False, help_text=_("One id per line.")
    )
    resource_plugin_storage = _yes(_("Storage of its plugin"))
    resource_workspace_storage = _yes(_("Storage of the workspace"))
    resource_artifacts = _yes(_("Files of the conversation"))
    state_enabled = _yes(_("May keep state"))
    state_scopes = forms.MultipleChoiceField(
        label=_("State belongs to"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        choices=STATE_SCOPES,
    )
    state_expire = forms.IntegerField(
        label=_("Conversations begin anew after"),
        min_value=0,
        max_value=2**31 - 1,
        help_text=_(
            "Seconds of silence after which the agent sees nothing of before; 0: never."
        ),
    )
    delivery_reply = _yes(
        _("Send replies"), _("Off: runs are recorded, nothing is sent.")
    )
    delivery_streaming = _yes(_("Stream replies"), _("Where the platform can."))
    delivery_reasoning = _yes(
        _("Show reasoning"), _("Off: only people who operate the agent see it.")
    )
    delivery_maximum = forms.IntegerField(
        label=_("Longest message"),
        required=False,
        min_value=1,
        help_text=_("Characters; empty means the platform's own limit."),
    )
    delivery_ambiguous = forms.ChoiceField(
        label=_("When it is unclear whether a reply arrived"),
        choices=DELIVERY_AMBIGUOUS,
    )
    approval_enabled = _yes(_("Ask a person before tools run"))
    approval_mode = forms.ChoiceField(
        label=_("Tools not listed below"),
        choices=[
            ("default", _("ask a person")),
            ("dontAsk", _("refuse without asking")),
            ("bypass", _("run without asking")),
        ],
    )
    approval_allow = LinesField(
        label=_("Always run"),
        required=False,
        help_text=_("Names of tools, one per line; * stands for anything."),
    )
    approval_ask = LinesField(
        label=_("Always ask"),
        required=False,
        help_text=_("Unless they are listed as always run."),
    )
    approval_deny = LinesField(
        label=_("Never run"),
        required=False,
        help_text=_("This list comes first."),
    )
    approval_reason = forms.CharField(
        label=_("What people are told"),
        required=False,
        max_length=REASON_CHARACTERS,
        help_text=_("{tool} and {agent} stand for their names."),
    )

    class Meta:
        model = Agent
        fields = [
            "name",
            "slug",
            "workspace",
            "description",
            "enabled",
            "owner",
            "runner_id",
            "event_types",
            "session_scope",
            "multitask_strategy",
        ]
        help_texts = {
            "slug": _("Its short name in addresses, in REST and in commands."),
            "session_scope": _(
                "Who shares a history: everyone of a group, or each person apart."
            ),
            "multitask_strategy": _(
                "What a message does that arrives while the agent still answers the "
                "one before, in the same conversation."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        policies = {
            name: schema.model_validate(getattr(self.instance, name) or {}).model_dump()
            for name, schema in self.POLICIES.items()
        }
        for field, (policy, key) in self.POLICY_FIELDS.items():
            if field in self.fields:
                self.initial.setdefault(field, policies[policy][key])
        if "description" in self.fields:
            self.fields["description"].widget.attrs["rows"] = 3
        if "resource_models" in self.fields:
            self.fields["resource_models"].choices = self._model_choices()  # type: ignore[attr-defined]  # a ChoiceField

    def secrets_of(self, row: Any) -> Any:
        return {
            name: value for name, value in row.runner_config.items() if is_sealed(value)
        }

    def _model_choices(self) -> list[tuple[str, Any]]:
        places = self.instance.workspace if self.instance.pk else self.places
        choices = [
            choice for kind in ModelKind for choice in model_choices(kind, places)
        ]
        offered = {name for name, _label in choices}
        stored = self.initial.get("resource_models") or []
        missing = [name for name in stored if name not in offered]
        return [*choices, *((name, _("%s (missing)") % name) for name in missing)]

    def _post_clean(self) -> None:
        for field, (policy, key) in self.POLICY_FIELDS.items():
            if field in self.cleaned_data:
                stored = getattr(self.instance, policy) or {}
                value = {**stored, key: self.cleaned_data[field]}
                setattr(self.instance, policy, value)
        super()._post_clean()  # type: ignore[misc]  # Django's hook, absent in stubs
        if self.is_stale or self.errors.keys() & {"runner_id", "workspace"}:
            return
        self.instance.runner_config = {**self._unshown(), **self._chosen()}
        try:
            self.instance.runner_config = check_config(self.instance)
        except ValidationError as error:
            self.add_setting_errors(error.message_dict)

    def _chosen(self) -> dict[str, Any]:
        """Return what was stored, touched or proposed, and no untouched defaults."""
        same = self.initial.get("runner_id") == self.instance.runner_id
        stored = self.instance.runner_config if same else {}
        return {
            name: value
            for name, value in self.settings().items()
            if name in stored
            or PREFIX + name in self.changed_data
            or getattr(self.fields[PREFIX + name], "proposed", False)
        }

    def _unshown(self) -> dict[str, Any]:
        """Return stored settings that the form has no field for.

        A runner that is not connected yet has no schema: its settings, made by REST,
        must survive a change of the agent's name.
        """
        if GROWN_FOR in self.fields and any(n.startswith(PREFIX) for n in self.fields):
            return {}
        same = self.initial.get("runner_id") == self.instance.runner_id
        return mask_config(self.instance.runner_config) if same else {}
