"""What REST asks of a person before it does anything.

A request needs the Django permission of what it does to the view's model: `view` to
read, `add`, `change` or `delete` to write. `RIGHTS` names the acts that are none of
these. Session users and tokens are asked alike, so a token never may more than its
user; its scopes only narrow that. Where the act happens is asked apart: every view
sees the caller's workspace only.
"""

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.serializers import BaseSerializer

from langbot.core.permissions import CANCEL_RUN, RESOLVE_ACTION, SEND

_AGENT, _BINDING = "langbot_agents.agent", "langbot_agents.agentbinding"
_RUN, _CONVERSATION = "langbot_runners.agentrun", "langbot_runners.conversation"

# (model, the view's action) -> rights, for acts that the method does not tell.
RIGHTS: dict[tuple[str, str], tuple[str, ...]] = {
    (_AGENT, "put_by_slug"): (
        "langbot_agents.add_agent",
        "langbot_agents.change_agent",
    ),
    ("langbot_platforms.bot", "put_by_slug"): (
        "langbot_platforms.add_bot",
        "langbot_platforms.change_bot",
    ),
    (_AGENT, "clone"): ("langbot_agents.add_agent",),
    (_AGENT, "test"): (SEND,),
    (_BINDING, "resolve"): ("langbot_agents.view_agentbinding",),
    (_CONVERSATION, "messages"): (SEND,),
    (_CONVERSATION, "cancel"): ("langbot_runners.delete_queuedmessage",),
    (_CONVERSATION, "disconnect"): ("langbot_runners.change_conversation",),
    (_RUN, "cancel"): (CANCEL_RUN,),
    (_RUN, "steer"): (SEND,),
    (_RUN, "token"): ("langbot_runners.view_agentrun",),
    ("langbot_runners.eventlog", "replay"): (SEND,),
    ("langbot_runners.pendingaction", "resolve"): (RESOLVE_ACTION,),
}
_VERBS = {"POST": "change", "PUT": "change", "PATCH": "change", "DELETE": "delete"}


class HasRight(BasePermission):
    """Asks for the permissions of what the request does."""

    message = _("Your groups do not allow this.")
    code = "permission_denied"

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(request.user.has_perms(rights_for(view, request.method or "")))


def rights_for(view: Any, method: str) -> tuple[str, ...]:
    """Return the permissions that a request to `view` needs.

    A view without a model names them itself: `rights`, by method.
    """
    own: dict[str, tuple[str, ...]] | None = getattr(view, "rights", None)
    if own is not None:
        return own.get("GET" if method in SAFE_METHODS else method, ())
    meta = view.queryset.model._meta
    action = getattr(view, "action", None) or ""
    if method in SAFE_METHODS:
        verb = "view"
    elif (meta.label_lower, action) in RIGHTS:
        return RIGHTS[meta.label_lower, action]
    else:
        verb = "add" if action == "create" else _VERBS.get(method, "change")
    return (f"{meta.app_label}.{verb}_{meta.model_name}",)


class GuardedFields(BaseSerializer[Any]):
    """A serializer that shows some fields only to who may see them.

    `guarded` names the permission of each field; to others the field is null.
    """

    guarded: dict[str, str] = {}

    def to_representation(self, instance: Any) -> Any:
        shown = super().to_representation(instance)
        request = self.context.get("request")
        for name, right in self.guarded.items():
            if name in shown and not (request and request.user.has_perm(right)):
                shown[name] = None
        return shown
