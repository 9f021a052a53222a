"""Writing the audit log; secrets never reach it."""

import json
from collections.abc import Mapping
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from langbot.core.models import AuditLog
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
    return AuditLog.objects.create(
        # None for a workspace itself: entries protect theirs from being deleted.
        workspace_id=getattr(row, "workspace_id", None),
        actor=actor[:200],
        action=action,
        object_type=row._meta.label_lower,
        object_id=str(getattr(row, "public_id", row.pk)),
        before=None if before is None else redact_secrets(before),
        after=None if after is None else redact_secrets(after),
    )


def state_of(row: models.Model) -> dict[str, Any]:
    """Return a row's columns as JSON values, secrets replaced by the mask."""
    values = {}
    for field in row._meta.concrete_fields:
        value = field.value_from_object(row)
        secret = isinstance(field, EncryptedTextField | EncryptedJSONField)
        if secret or field.name in _HIDDEN:
            value = REDACTED if value else value
        values[field.name] = value
    plain: dict[str, Any] = json.loads(json.dumps(values, cls=DjangoJSONEncoder))
    return plain


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
