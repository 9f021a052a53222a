"""The admin's sidebar, grouped by question; `UNFOLD["SIDEBAR"]["navigation"]`."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _


def _may_view(permission: str) -> Callable[[HttpRequest], bool]:
    return lambda request: request.user.has_perm(permission)


def _page(title: Any, icon: str, app: str, model: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{model}_changelist"),
        "permission": _may_view(f"{app}.view_{model}"),
    }


NAVIGATION: list[dict[str, Any]] = [
    {
        "items": [
            {
                "title": _("Overview"),
                "icon": "home",
                "link": reverse_lazy("admin:index"),
            }
        ]
    },
    {
        "title": _("What happened?"),
        "items": [
            _page(_("Runs"), "play_circle", "langbot_runners", "agentrun"),
            _page(_("Conversations"), "forum", "langbot_runners", "conversation"),
            _page(_("Events"), "bolt", "langbot_runners", "eventlog"),
            _page(_("Deliveries"), "outbox", "langbot_runners", "delivery"),
            _page(_("Waiting messages"), "queue", "langbot_runners", "queuedmessage"),
            _page(_("Artifacts"), "attach_file", "langbot_artifacts", "artifact"),
        ],
    },
    {
        "title": _("Who answers?"),
        "items": [
            _page(_("Agents"), "smart_toy", "langbot_agents", "agent"),
            _page(_("Bindings"), "alt_route", "langbot_agents", "agentbinding"),
            _page(_("Bots"), "chat", "langbot_platforms", "bot"),
        ],
    },
    {
        "title": _("What do they run on?"),
        "items": [
            _page(_("Runners"), "extension", "langbot_agents", "runnerdescriptor"),
            _page(_("Models"), "neurology", "langbot_agents", "model"),
            _page(_("Model providers"), "cloud", "langbot_agents", "modelprovider"),
            _page(_("Plugin tokens"), "key", "langbot_agents", "plugintoken"),
            _page(
                _("Plugin connections"), "cable", "langbot_agents", "pluginconnection"
            ),
            _page(_("Workers"), "dns", "langbot_runners", "workernode"),
        ],
    },
    {
        "title": _("Who may do what?"),
        "items": [
            _page(_("Workspaces"), "workspaces", "langbot_core", "workspace"),
            _page(_("Members"), "group", "langbot_core", "membership"),
            _page(_("API tokens"), "vpn_key", "langbot_core", "apitoken"),
            _page(_("Service accounts"), "smart_toy", "langbot_core", "serviceaccount"),
            _page(_("Users"), "person", "auth", "user"),
            _page(_("Groups"), "groups", "auth", "group"),
            _page(_("Audit log"), "history", "langbot_core", "auditlog"),
        ],
    },
]
