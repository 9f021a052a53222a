"""What a person may decide about an action, and whether it is a valid decision."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from django.utils.translation import gettext as _

from agents.resources.tools import find_tools
from runners.choices import ActionKind, ActionStatus
from runners.models import PendingAction
from runners.platform_tools import (
    PLATFORM_PREFIX,
    REPLY_TOOL,
    platform_tool,
    reply_tool,
)

Kind = Literal["approve", "reject", "edit", "respond"]
Scope = Literal["once", "session", "always"]

STATUS_OF: Final[dict[str, ActionStatus]] = {
    "approve": ActionStatus.APPROVED,
    "reject": ActionStatus.REJECTED,
    "edit": ActionStatus.EDITED,
    "respond": ActionStatus.RESPONDED,
}
_OF_KIND: Final[dict[str, tuple[Kind, ...]]] = {
    ActionKind.APPROVAL: ("approve", "reject", "edit", "respond"),
    ActionKind.QUESTION: ("respond", "reject"),
}
SCOPES: Final[tuple[Scope, ...]] = ("once", "session", "always")
BUTTON: Final = "action_id"  # the value that names the button of a question's form
REASON_CHARACTERS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a person decided.

    An approval takes all four: `edit` executes the tool with `args`, `respond` hands
    `values` to the runner as the tool's answer and executes nothing. A question takes
    `respond`, with `values` by field id and, under `action_id`, the button that was
    pressed; and `reject`, which dismisses it. `scope` other than `once` is for
    `approve`: `session` allows the tool in this conversation, `always` to the agent.
    """

    decision: Kind
    reason: str = ""
    args: dict[str, Any] | None = None
    values: dict[str, Any] | None = None
    scope: Scope = "once"

    def document(self) -> dict[str, Any]:
        """Return what the row, the ledger and the audit log keep."""
        return {
            "decision": self.decision,
            "reason": self.reason,
            "args": self.args,
            "values": self.values,
            "scope": self.scope,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """Who decides: a person with an account, or whoever holds a signed link.

    `name` is in the audit log; an `Author` says through which door as well.
    """

    user: Any = None
    name: str = ""


class ActionError(Exception):
    """Base: nothing was decided. The text is safe to show."""

    code = "invalid_decision"


class DecisionInvalidError(ActionError):
    """The decision does not fit the action; `field` is the part that is wrong."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


class ActionResolvedError(ActionError):
    """Somebody else was first; `action` says who, what and when."""

    code = "action_resolved"

    def __init__(self, action: PendingAction) -> None:
        self.action = action
        super().__init__(
            _("%(who)s has decided already: %(what)s.")
            % {
                "who": action.decided_by_name or _("Somebody"),
                "what": action.get_status_display(),
            }
        )


class ActionExpiredError(ActionError):
    """Nobody decided in time, or what asked has ended."""

    code = "action_expired"

    def __init__(self, action: PendingAction) -> None:
        self.action = action
        super().__init__(_("This is no longer asked."))


def check_decision(action: PendingAction, decision: Decision, decider: Decider) -> None:
    """Raise DecisionInvalidError for what this action cannot be answered with."""
    if decision.decision not in _OF_KIND[action.kind]:
        raise DecisionInvalidError("decision", _("This action takes no such decision."))
    if decision.scope not in SCOPES:
        raise DecisionInvalidError("scope", _("There is no such scope."))
    if len(decision.reason) > REASON_CHARACTERS:
        raise DecisionInvalidError("reason", _("This reason is too long."))
    _check_scope(action, decision, decider)
    if decision.decision == "edit":
        _check_arguments(action, decision.args)
    elif decision.args is not None:
        raise DecisionInvalidError("args", _("Only “edit” takes arguments."))
    if decision.decision == "respond":
        _check_values(action, decision.values)
    elif decision.values is not None:
        raise DecisionInvalidError("values", _("Only “respond” takes values."))


def _check_scope(action: PendingAction, decision: Decision, decider: Decider) -> None:
    if decision.scope == "once":
        return
    if action.kind != ActionKind.APPROVAL or decision.decision != "approve":
        raise DecisionInvalidError("scope", _("Only an approval can be remembered."))
    if decision.scope == "always" and not getattr(decider.user, "is_staff", False):
        raise DecisionInvalidError("scope", _("Only staff may allow a tool for good."))


def _check_arguments(action: PendingAction, args: dict[str, Any] | None) -> None:
    if not isinstance(args, dict):
        raise DecisionInvalidError("args", _("Enter the changed arguments."))
    # Six megabytes of every process, for what is rarely done.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, ValidationError

    try:
        schema = schema_of(action)
        if schema:
            Draft202012Validator(schema).validate(args)
    except ValidationError as error:
        where = ".".join(map(str, error.absolute_path))
        text = f"{where}: {error.message}" if where else error.message
        raise DecisionInvalidError("args", text[:500]) from None
    except SchemaError:
        return  # the tool's own mistake; it refuses what it cannot take itself


def schema_of(action: PendingAction) -> Mapping[str, Any]:
    """Return the JSON schema of an approval's arguments; empty for a tool unknown now.

    Asks the tool's provider, which reads the database.
    """
    name = action.tool_name
    if name == REPLY_TOOL:
        return reply_tool().parameters
    if name.startswith(PLATFORM_PREFIX):
        return platform_tool(name).parameters
    found = find_tools(action.workspace_id, [name])
    return found[0][1].parameters if found else {}


def _check_values(action: PendingAction, values: dict[str, Any] | None) -> None:
    if not isinstance(values, dict):
        raise DecisionInvalidError("values", _("Enter the answer."))
    if action.kind == ActionKind.APPROVAL:
        return
    form = action.form or {}
    fields = {field["id"]: field for field in form.get("fields") or []}
    buttons = {button["id"] for button in form.get("actions") or []}
    if values.get(BUTTON) is not None and values[BUTTON] not in buttons:
        raise DecisionInvalidError("values", _("There is no such button."))
    for name, value in values.items():
        if name in fields:
            _check_value(fields[name], value)
        elif name != BUTTON:
            raise DecisionInvalidError("values", _("There is no field “%s”.") % name)
    for name, field in fields.items():
        if field.get("required") and values.get(name) in (None, "", []):
            raise DecisionInvalidError(
                "values", _("“%s” is required.") % field["label"]
            )


def _check_value(field: dict[str, Any], value: Any) -> None:
    if value is None or _fits(field, value):
        return
    raise DecisionInvalidError("values", _("“%s” is not valid.") % field["label"])


def _fits(field: dict[str, Any], value: Any) -> bool:
    known = {option["value"] for option in field.get("options") or []}
    kind = field.get("type", "text")
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "multiselect":
        return isinstance(value, list) and all(one in known for one in value)
    if kind == "select":
        return value in known
    return isinstance(value, str)
