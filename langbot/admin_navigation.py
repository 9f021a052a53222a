"""The admin's sidebar, grouped by question; `UNFOLD["SIDEBAR"]["navigation"]`."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse, reverse_lazy
from django.utils.functional import lazy
from django.utils.translation import gettext_lazy as _

Names = tuple[str, str]  # a model's app and its own, as in the names of its pages


def _page(title: Any, icon: str, app: str, model: str) -> dict[str, Any]:
    return _item(title, icon, lambda: (app, model))


def _item(title: Any, icon: str, names: Callable[[], Names]) -> dict[str, Any]:
    """Return a link to a model's list; settings import this before any app is ready."""
    return {
        "title": title,
        "icon": icon,
        "link": lazy(lambda: _address(names()), str)(),
        "permission": lambda request: _may_view(request, names()),
    }


def _user_model() -> Names:
    meta = get_user_model()._meta
    return meta.app_label, str(meta.model_name)


def _address(names: Names) -> str:
    """Return where a model's list is; nothing when the site has no page of it."""
    app, model = names
    try:
        return reverse(f"admin:{app}_{model}_changelist")
    except NoReverseMatch:
        return ""


def _may_view(request: HttpRequest, names: Names) -> bool:
    app, model = names
    return bool(_address(names)) and request.user.has_perm(f"{app}.view_{model}")


def open_actions(request: HttpRequest) -> str:
    """Return how many decisions wait for a person; empty for none. One short query."""
    from runners.admin.overview_facts import facts_for
    from runners.admin.waiting import waiting_count

    match = request.resolver_match
    if match is not None and match.view_name == "admin:index":
        facts_for(request.user)  # which counts these with everything else
    count, shown = waiting_count(request.user)
    return shown if count else ""


def _may_see_person(request: HttpRequest) -> bool:
    from runners.admin.person_pages import may_see_person

    return may_see_person(request.user)


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
            _page(_("Inbox"), "inbox", "langbot_runners", "pendingaction")
            | {"badge": "langbot.admin_navigation.open_actions"},
            _page(_("Conversations"), "forum", "langbot_runners", "conversation"),
            _page(_("Events"), "bolt", "langbot_runners", "eventlog"),
            _page(_("Deliveries"), "outbox", "langbot_runners", "delivery"),
            _page(_("Waiting messages"), "queue", "langbot_runners", "queuedmessage"),
            _page(_("Allowed tools"), "verified", "langbot_runners", "toolgrant"),
            _page(_("Artifacts"), "attach_file", "langbot_artifacts", "artifact"),
        ],
    },
    {
        "title": _("What does it cost?"),
        "items": [
            _page(_("Model calls"), "payments", "langbot_agents", "usagerecord"),
            _page(_("Quotas"), "speed", "langbot_agents", "quota"),
            _page(_("Spent so far"), "savings", "langbot_agents", "quotawindow"),
            _page(_("Tiers of people"), "stairs", "langbot_agents", "persontier"),
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
            _page(_("Plugins"), "package_2", "langbot_agents", "plugin"),
            _page(_("Runners"), "extension", "langbot_agents", "runnerdescriptor"),
            _page(_("Models"), "neurology", "langbot_agents", "model"),
            _page(_("Model providers"), "cloud", "langbot_agents", "modelprovider"),
            _page(_("Plugin tokens"), "key", "langbot_agents", "plugintoken"),
            _page(
                _("Plugin connections"), "cable", "langbot_agents", "pluginconnection"
            ),
            _page(_("Workers"), "dns", "langbot_runners", "workernode"),
            _page(_("Remote runtimes"), "lan", "langbot_runners", "remoteruntime"),
        ],
    },
    {
        "title": _("Who may do what?"),
        "items": [
            _page(_("Workspaces"), "workspaces", "langbot_core", "workspace"),
            _page(_("Members"), "group", "langbot_core", "membership"),
            _page(_("API tokens"), "vpn_key", "langbot_core", "apitoken"),
            _page(_("Service accounts"), "smart_toy", "langbot_core", "serviceaccount"),
            _page(_("Mails"), "mail", "langbot_core", "notification"),
            _page(
                _("Mail notifications"),
                "notifications",
                "langbot_core",
                "notificationpreference",
            ),
            _item(_("Users"), "person", _user_model),
            _page(_("Groups"), "groups", "auth", "group"),
            _page(_("Audit log"), "history", "langbot_core", "auditlog"),
            {
                "title": _("One person's data"),
                "icon": "person_search",
                "link": reverse_lazy("admin:langbot_runners_conversation_person"),
                "permission": _may_see_person,
            },
            _page(_("Refused calls"), "block", "langbot_runners", "hostcallrefusal"),
        ],
    },
]
