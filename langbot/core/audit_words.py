"""The audit log for people: what was done in words, and to what by its name."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db.models import CharField, Model, QuerySet, Value
from django.db.models.functions import Cast
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from langbot.core.models import AuditLog

ACTIONS: dict[str, Any] = {
    "action approved": _("approved"),
    "action edited": _("approved with changes"),
    "action rejected": _("rejected"),
    "action responded": _("answered by a person"),
    "archived": _("archived"),
    "cancel requested": _("cancel requested"),
    "cancelled": _("cancelled"),
    "changed": pgettext_lazy("audit", "changed"),
    "created": pgettext_lazy("audit", "created"),
    "deleted": pgettext_lazy("audit", "deleted"),
    "disabled": pgettext_lazy("audit", "switched off"),
    "enabled": pgettext_lazy("audit", "switched on"),
    "exported": pgettext_lazy("audit", "exported"),
    "extra day granted": _("extra day granted"),
    "forgot old secret keys": pgettext_lazy("audit", "forgot old secret keys"),
    "imported": pgettext_lazy("audit", "imported"),
    "listeners disconnected": _("listeners disconnected"),
    "package built": pgettext_lazy("audit", "package built"),
    "package not built": pgettext_lazy("audit", "package not built"),
    "package removed": pgettext_lazy("audit", "package removed"),
    "package restarted": pgettext_lazy("audit", "package restarted"),
    "package started": pgettext_lazy("audit", "package started"),
    "package stopped": pgettext_lazy("audit", "package stopped"),
    "package token rotated": pgettext_lazy("audit", "package given another token"),
    "package uploaded": pgettext_lazy("audit", "package uploaded"),
    "package version chosen": pgettext_lazy("audit", "package version chosen"),
    "password changed": _("password changed"),
    "person erased": _("person erased"),
    "person exported": _("person exported"),
    "pruned": _("removed what was due"),
    "regenerated": _("reply made anew"),
    "renamed": _("renamed"),
    "replayed": pgettext_lazy("audit", "replayed"),
    "reset": pgettext_lazy("audit", "begun anew"),
    "retried": pgettext_lazy("audit", "tried again"),
    "revoked": pgettext_lazy("status", "revoked"),
    "rewritten": _("person's name replaced"),
    "risk acknowledged": _("risk acknowledged"),
    "rotated": pgettext_lazy("audit", "given a new key"),
    "rotated secrets": pgettext_lazy("audit", "secrets given a new key"),
    "run now": _("run at once"),
    "state removed": _("state removed"),
    "state set": _("state set"),
    "tool allowed": _("tool allowed"),
    "tool no longer allowed": _("tool no longer allowed"),
    "unarchived": pgettext_lazy("audit", "brought back"),
}
_NAMES = ("name", "label", "slug", "runner_id", "title", "event_id")
# Rows that have no name of their own are known by what they belong to.
_BY_OTHERS = {"langbot_agents.agentbinding": "agent__name"}


@dataclass(frozen=True, slots=True)
class Named:
    """A row that still exists: its key and what it is called."""

    key: Any
    name: str


def action_words(action: str) -> str:
    """Return an act in the reader's language; an unknown one as it is."""
    return str(ACTIONS.get(action, action))


def kind_words(object_type: str) -> str:
    """Return what kind of thing an entry is about."""
    model = _model(object_type)
    return str(model._meta.verbose_name) if model is not None else object_type


def address_of(object_type: str, key: Any) -> str:
    """Return the admin's page of a row; nothing where there is none."""
    try:
        return reverse(f"admin:{object_type.replace('.', '_')}_change", args=[key])
    except NoReverseMatch:
        return ""


def named_objects(entries: Iterable[AuditLog]) -> dict[tuple[str, str], Named]:
    """Return the rows that entries are about, by type and id, in one query."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        wanted[entry.object_type].add(entry.object_id)
    queries = [
        query
        for object_type, ids in wanted.items()
        if (query := _query(object_type, ids)) is not None
    ]
    if not queries:
        return {}
    first, *others = queries
    rows = first.union(*others, all=True) if others else first
    return {(kind, _plain(id_)): Named(key, name) for kind, id_, key, name in rows}


def _query(object_type: str, ids: set[str]) -> QuerySet[Any, Any] | None:
    model = _model(object_type)
    path = _name_path(object_type)
    if model is None or not path:
        return None
    field = "public_id" if hasattr(model, "public_id") else "pk"
    known = [one for one in ids if _is_id(one, is_uuid=field == "public_id")]
    return (
        model._default_manager.order_by()
        .filter(**{f"{field}__in": known})
        .values_list(
            Value(object_type, output_field=CharField()),
            Cast(field, CharField(max_length=36)),
            Cast("pk", CharField(max_length=36)),
            Cast(path, CharField(max_length=300)),
        )
    )


@cache
def _name_path(object_type: str) -> str:
    model = _model(object_type)
    if model is None:
        return ""
    if object_type in _BY_OTHERS:
        return _BY_OTHERS[object_type]
    username = str(get_user_model().USERNAME_FIELD)
    if model is get_user_model():
        return username
    for name in _NAMES:
        if _has_field(model, name):
            return name
    return f"user__{username}" if _has_field(model, "user") else ""


def _has_field(model: type[Model], name: str) -> bool:
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


def _model(object_type: str) -> type[Model] | None:
    try:
        return apps.get_model(object_type)
    except (LookupError, ValueError):
        return None  # the installation itself, or an app that is gone


def _is_id(text: str, *, is_uuid: bool) -> bool:
    if not is_uuid:
        return text.isascii() and text.isdecimal() and len(text) <= 18  # noqa: PLR2004  digits of a bigint
    try:
        return bool(UUID(text))
    except ValueError:
        return False


def _plain(text: str) -> str:
    """Return an id as entries have it: SQLite keeps UUIDs without dashes."""
    return str(UUID(text)) if len(text) == 32 else text  # noqa: PLR2004  hex digits of a UUID
