"""The groups that ship, and the permissions that each is given once.

Groups say what a person may do, memberships say where. A permission is granted when
it first exists and never again, so that what an admin took away stays away. A group
of the same name that was here before us belongs to somebody else and is left alone.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed_apps
from django.contrib.auth.management import create_permissions
from django.db import DEFAULT_DB_ALIAS, router, transaction
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

logger = logging.getLogger(__name__)

ADMINS = "admins"
OPERATORS = "operators"
APPROVERS = "approvers"
AUDITORS = "auditors"
VIEWERS = "viewers"

LABELS: dict[str, Promise] = {
    ADMINS: _("Admins: set everything up"),
    OPERATORS: _("Operators: send messages, cancel and retry"),
    APPROVERS: _("Approvers: decide what waits for a person"),
    AUDITORS: _("Auditors: read everything, the audit log included"),
    VIEWERS: _("Viewers: read what happened"),
}
OUR_APPS = "langbot_"  # how the labels of our apps begin

# What only auditors and admins read: acts, money, and what opens doors.
_CLOSED = frozenset(
    f"langbot_{name}"
    for name in (
        "core.view_apitoken",
        "core.view_auditlog",
        "core.view_auditseal",
        "core.view_membership",
        "core.view_serviceaccount",
        "agents.view_plugintoken",
        "agents.view_usagerecord",
        "agents.view_openmodelcall",
        "agents.view_modelprice",
        "agents.view_quota",
        "agents.view_quotawindow",
        "agents.view_persontier",
    )
)
# Code on the host's own machine: superusers have it, and give it to whom they trust.
_OF_THE_MACHINE = frozenset({"langbot_agents.manage_plugins"})
_OPERATION = frozenset(
    f"langbot_{name}"
    for name in (
        "runners.add_conversation",
        "runners.change_conversation",
        "runners.take_over",
        "runners.add_eventlog",
        "runners.change_agentrun",
        "runners.cancel_run",
        "runners.delete_queuedmessage",
        "runners.change_delivery",
        "runners.add_runnerstate",
        "runners.change_runnerstate",
        "runners.delete_runnerstate",
        "artifacts.add_artifact",
        "artifacts.change_artifact",
        "artifacts.delete_artifact",
    )
)
_DECISION = frozenset({"langbot_runners.resolve_action"})
_INSIGHT = frozenset({"langbot_runners.view_raw_payload", "langbot_runners.view_cost"})


def _is_view(name: str) -> bool:
    return name.partition(".")[2].startswith("view_")


def _is_open(name: str) -> bool:
    return _is_view(name) and name not in _CLOSED | _INSIGHT


_RULES: dict[str, Callable[[str], bool]] = {
    ADMINS: lambda name: name not in _OF_THE_MACHINE,
    OPERATORS: lambda name: _is_open(name) or name in _OPERATION,
    APPROVERS: lambda name: _is_open(name) or name in _DECISION,
    AUDITORS: lambda name: _is_view(name) or name in _INSIGHT,
    VIEWERS: _is_open,
}


def rights_of(role: str, names: Iterable[str]) -> set[str]:
    """Return which of our permissions (`app_label.codename`) a group begins with."""
    return set(filter(_RULES[role], names))


def grant_rights(
    sender: AppConfig,
    using: str = DEFAULT_DB_ALIAS,
    apps: Any = installed_apps,
    **_kwargs: Any,
) -> None:
    """Give each group what it does not know yet; receives `post_migrate`. Idempotent.

    Django makes permissions in the same signal, app by app: those of apps that come
    after this one are made here first.
    """
    try:
        grants: Any = apps.get_model(sender.label, "RoleGrant")
    except LookupError:
        return  # migrated back to before there were groups
    if not router.allow_migrate_model(using, grants):
        return
    for config in installed_apps.get_app_configs():
        if config.label.startswith(OUR_APPS):
            create_permissions(config, verbosity=0, using=using, apps=apps)
    with transaction.atomic(using=using):
        _grant(apps, grants.objects.using(using), using)


def _grant(apps: Any, grants: Any, using: str) -> None:
    ids = _permission_ids(apps, using)
    for role in _RULES:
        known = set(grants.filter(role=role).values_list("permission", flat=True))
        missing = sorted(rights_of(role, ids) - known)
        if not missing:
            continue
        group = _group(apps, role, using, is_new=not known)
        if group is not None:
            group.permissions.add(*(ids[name] for name in missing))
            grants.bulk_create(
                grants.model(role=role, permission=name) for name in missing
            )


def _permission_ids(apps: Any, using: str) -> dict[str, int]:
    rows = apps.get_model("auth", "Permission").objects.using(using)
    ours = rows.filter(content_type__app_label__startswith=OUR_APPS).values_list(
        "content_type__app_label", "codename", "pk"
    )
    return {f"{label}.{codename}": pk for label, codename, pk in ours}


def _group(apps: Any, role: str, using: str, *, is_new: bool) -> Any:
    groups = apps.get_model("auth", "Group").objects.using(using)
    if not is_new:
        return groups.filter(name=role).first()  # None: an admin has removed it
    group, created = groups.get_or_create(name=role)
    if created:
        return group
    logger.warning("the group %s was here before: it is given no permissions", role)
    return None
