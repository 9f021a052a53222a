"""Writing the audit log; secrets never reach it."""

import json
from collections.abc import Mapping
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.crypto import salted_hmac

from langbot.core.authors import HOST, Author, command_author
from langbot.core.models import AuditLog, Workspace
from langbot.core.tenancy import workspace_id_of
from langbot.lib.fields import EncryptedJSONField, EncryptedTextField
from langbot.lib.redaction import REDACTED, redact_secrets

_HIDDEN = frozenset({"password", "token_hash"})


def record_act(
    actor: str,
    action: str,
    row: models.Model,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditLog:
    """Write one entry about `row`; call it in the transaction of the change."""
    return _write(
        actor,
        action,
        # None for a workspace itself: entries protect theirs from being deleted.
        workspace_id=None if isinstance(row, Workspace) else workspace_id_of(row),
        object_type=row._meta.label_lower,
        object_id=str(getattr(row, "public_id", row.pk)),
        before=None if before is None else redact_secrets(before),
        after=None if after is None else redact_secrets(after),
    )


def record_host_act(
    actor: str,
    action: str,
    after: Mapping[str, Any],
    workspace: Workspace | None = None,
) -> AuditLog:
    """Write one entry about no row: about the installation itself, or a workspace."""
    return _write(
        actor,
        action,
        workspace=workspace,
        object_type="host",
        object_id="",
        after=redact_secrets(after),
    )


def record_change(
    actor: str,
    row: models.Model,
    before: Mapping[str, Any],
    *,
    action: str = "",
) -> AuditLog | None:
    """Write what differs between `before` (`state_of`, {} for a new row) and now.

    None, and no entry, when nothing does.
    """
    old, new = changes(before, state_of(row))
    if before and not new:
        return None
    usual = "changed" if before else "created"
    return record_act(actor, action or usual, row, before=old, after=new)


def _write(actor: str, action: str, **values: Any) -> AuditLog:
    return AuditLog.objects.create(
        actor=actor[:200],
        source=getattr(actor, "source", HOST)[:100],
        action=action[:100],
        **values,
    )


def state_of(row: models.Model) -> dict[str, Any]:
    """Return a row's columns as JSON values, secrets replaced by a mask.

    The masks of two secrets differ, so that a changed one is seen to have changed.
    """
    values = {}
    for field in row._meta.concrete_fields:
        value = field.value_from_object(row)
        secret = isinstance(field, EncryptedTextField | EncryptedJSONField)
        if secret or field.name in _HIDDEN:
            value = _mask(value) if value else value
        values[field.name] = value
    if row.pk is not None:
        for many in row._meta.many_to_many:
            related = getattr(row, many.name).order_by("pk")
            values[many.name] = [str(one) for one in related]
    plain: dict[str, Any] = json.loads(json.dumps(values, cls=DjangoJSONEncoder))
    return plain


def _mask(secret: Any) -> str:
    text = json.dumps(secret, cls=DjangoJSONEncoder, sort_keys=True)
    return f"{REDACTED} {salted_hmac('langbot.audit', text).hexdigest()[:8]}"


def changes(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keep only what differs between two states."""
    names = [
        name for name in {**before, **after} if before.get(name) != after.get(name)
    ]
    return (
        {name: before.get(name) for name in names},
        {name: after.get(name) for name in names},
    )


__all__ = [
    "Author",
    "changes",
    "command_author",
    "record_act",
    "record_change",
    "record_host_act",
    "state_of",
]
