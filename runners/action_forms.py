"""What waits for a person, as form fields: for every page on which people decide."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, cast

from django import forms
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from langbot.lib.redaction import REDACTED, redact_secrets
from runners.actions import (
    ActionError,
    ActionExpiredError,
    ActionResolvedError,
    Decision,
    DecisionInvalidError,
)
from runners.choices import ActionKind
from runners.decisions import BUTTON, REASON_CHARACTERS, Kind, Scope
from runners.models import PendingAction

_ANSWER = "answer-"  # before the fields of a question, whatever a runner calls them
_LONGEST = 10_000  # characters of one answer
_SCOPES = [
    ("once", gettext_lazy("this once")),
    ("session", gettext_lazy("always in this conversation")),
    ("always", gettext_lazy("always for this agent")),
]


class ApprovalForm(forms.Form):
    """Reason, scope and changed arguments; which of them count says the button."""

    # The browser would refuse what another button does not need.
    use_required_attribute = False

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=REASON_CHARACTERS,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("The agent is told, and so is the log."),
    )
    scope = forms.ChoiceField(
        label=gettext_lazy("Approved"), choices=_SCOPES, required=False
    )
    arguments = forms.CharField(
        label=gettext_lazy("Arguments, as JSON"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false"}),
        help_text=gettext_lazy("For “Approve with changes”; hidden values stay."),
    )

    def __init__(
        self,
        action: PendingAction,
        data: Mapping[str, Any] | None = None,
        *,
        by_link: bool = False,
    ) -> None:
        self.action = action
        shown = json.dumps(
            redact_secrets(action.arguments), indent=2, ensure_ascii=False
        )
        super().__init__(data, initial={"arguments": shown, "scope": "once"})
        if by_link:  # who has nothing else decides as it was asked, and this once
            del self.fields["scope"], self.fields["arguments"]

    def decision(self, kind: str) -> Decision:
        """Return the decision of a valid form; raises DecisionInvalidError."""
        given = self.cleaned_data
        scope = given.get("scope") if kind == "approve" else ""
        args = self._arguments() if kind == "edit" else None
        return Decision(
            decision=cast("Kind", kind),
            reason=given["reason"],
            args=args,
            scope=cast("Scope", scope or "once"),
        )

    def _arguments(self) -> dict[str, Any]:
        try:
            given = json.loads(self.cleaned_data.get("arguments") or "")
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            raise DecisionInvalidError("arguments", _("This is not a JSON object."))
        restored: dict[str, Any] = unmasked(given, self.action.arguments)
        return restored


class QuestionForm(forms.Form):
    """The fields that a runner asks for (wire 6.1)."""

    use_required_attribute = False

    def __init__(
        self, action: PendingAction, data: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(data)
        self.action = action
        self.asked = list(_form(action).get("fields") or [])
        for item in self.asked:
            self.fields[f"{_ANSWER}{item['id']}"] = field_of(item)

    @property
    def buttons(self) -> list[dict[str, str]]:
        """Return the buttons that answer: those of the question, else one."""
        asked = _form(self.action).get("actions") or []
        return asked or [{"id": "", "label": _("Send the answer"), "style": "primary"}]

    def decision(self, kind: str, button: str = "") -> Decision:
        """Return the decision of a valid form."""
        if kind != "respond":
            return Decision(decision="reject")
        values: dict[str, Any] = {}
        for item in self.asked:
            value = _plain(self.cleaned_data.get(f"{_ANSWER}{item['id']}"))
            if value not in (None, "", []):
                values[item["id"]] = value
        return Decision(
            decision="respond", values=values | ({BUTTON: button} if button else {})
        )


DecisionForm = ApprovalForm | QuestionForm


def form_for(
    action: PendingAction,
    data: Mapping[str, Any] | None = None,
    *,
    by_link: bool = False,
) -> DecisionForm:
    """Return the form of an action, bound when there is data."""
    if action.kind == ActionKind.QUESTION:
        return QuestionForm(action, data)
    return ApprovalForm(action, data, by_link=by_link)


def read_decision(form: DecisionForm, data: Mapping[str, Any]) -> Decision | None:
    """Return what a posted form decides; None when it has errors to show.

    The pressed button is `decision`; that of a question's own also has a name.
    """
    kind, _colon, button = str(data.get("decision") or "").partition(":")
    dismisses = kind == "reject" and isinstance(form, QuestionForm)
    if not form.is_valid() and not dismisses:
        return None
    try:
        if isinstance(form, QuestionForm):
            return form.decision(kind, button)
        return form.decision(kind)
    except DecisionInvalidError as error:
        add_error(form, error)
        return None


def add_error(form: DecisionForm, error: DecisionInvalidError) -> None:
    """Show at its field what the service refused."""
    name = {"args": "arguments"}.get(error.field, error.field)
    form.add_error(name if name in form.fields else None, str(error))


def refusal_text(error: ActionError) -> str:
    """Return why nothing was decided: for the loser of a race who, what and when."""
    if isinstance(error, ActionResolvedError):
        return resolution_text(error.action)
    if isinstance(error, ActionExpiredError):
        return _("This is no longer asked: its time was up, or its run has ended.")
    return str(error)


def resolution_text(action: PendingAction) -> str:
    """Return who decided what, and when."""
    if action.decided_at is None:
        return str(action.get_status_display())
    return _("%(who)s decided at %(when)s: %(what)s.") % {
        "who": action.decided_by_name or _("Somebody"),
        "when": date_format(localtime(action.decided_at), "DATETIME_FORMAT"),
        "what": action.get_status_display(),
    }


def title_of(action: PendingAction) -> str:
    """Return what is asked, in one line."""
    if action.kind == ActionKind.QUESTION:
        return str(_form(action).get("title") or _("A question"))
    return _("May the agent use %(tool)s?") % {"tool": action.tool_name}


def reason_of(action: PendingAction) -> str:
    """Return why it is asked; empty where the title says so already."""
    reason = str(action.reason or "")
    return "" if reason == title_of(action) else reason


def unmasked(given: Any, stored: Any) -> Any:
    """Return edited arguments with what was masked on the page put back."""
    if given == REDACTED:
        return stored
    if isinstance(given, dict) and isinstance(stored, dict):
        return {
            name: unmasked(value, stored.get(name)) for name, value in given.items()
        }
    if isinstance(given, list) and isinstance(stored, list):
        pairs = zip(given, [*stored, *([None] * len(given))], strict=False)
        return [unmasked(value, known) for value, known in pairs]
    return given


def field_of(item: Mapping[str, Any]) -> forms.Field:
    """Return the form field of one thing that a runner asks for."""
    common: dict[str, Any] = {
        "label": item.get("label") or item["id"],
        "required": bool(item.get("required")),
        "initial": item.get("default"),
    }
    options = [
        (one["value"], one.get("label") or one["value"])
        for one in item.get("options") or []
    ]
    kind = item.get("type", "text")
    if kind == "boolean":
        return forms.BooleanField(**common | {"required": False})
    if kind == "number":
        return forms.DecimalField(**common)
    if kind == "select":
        blank = [] if common["required"] else [("", "—")]
        return forms.ChoiceField(choices=[*blank, *options], **common)
    if kind == "multiselect":
        boxes = forms.CheckboxSelectMultiple
        return forms.MultipleChoiceField(choices=options, widget=boxes, **common)
    return forms.CharField(
        max_length=_LONGEST, widget=_text_widget(kind, item), **common
    )


def _text_widget(kind: str, item: Mapping[str, Any]) -> forms.Widget:
    attrs = {"placeholder": str(item.get("placeholder") or "")}
    if kind == "textarea":
        return forms.Textarea(attrs={**attrs, "rows": 4})
    return forms.TextInput(attrs=attrs)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def _form(action: PendingAction) -> dict[str, Any]:
    return action.form if isinstance(action.form, dict) else {}


__all__ = [
    "ApprovalForm",
    "DecisionForm",
    "QuestionForm",
    "add_error",
    "form_for",
    "read_decision",
    "reason_of",
    "refusal_text",
    "resolution_text",
    "title_of",
    "unmasked",
]
