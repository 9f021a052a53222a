"""Taking models and providers away: what agents name is archived, not deleted."""

from collections.abc import Iterable
from datetime import UTC, datetime

from django.db import transaction
from django.db.models import Q, QuerySet

from agents.models import Agent, Model, ModelProvider
from langbot.core.audit import record_act, state_of


def agents_with(models: Iterable[Model]) -> QuerySet[Agent]:
    """Return the agents whose settings or rules name one of these models.

    Archived ones too: they may come back.
    """
    named = Q(pk__in=[])
    for model in models:
        public_id = str(model.public_id)
        named |= Q(runner_config__icontains=public_id)
        named |= Q(resource_policy__icontains=public_id)
    return Agent.objects.filter(named)


def remove_model(model: Model, *, author: str) -> bool:
    """Delete a model that no agent names, archive any other; True when deleted."""
    with transaction.atomic():
        if agents_with([model]).exists():
            _archive(model, author)
            return False
        record_act(author, "deleted", model, before=state_of(model))
        Model.objects.filter(pk=model.pk).delete()
    return True


def remove_provider(provider: ModelProvider, *, author: str) -> bool:
    """Delete a provider with its models, or archive it while agents name one."""
    with transaction.atomic():
        models = list(provider.models.all())
        if agents_with(models).exists():
            _archive(provider, author)
            return False
        for model in models:
            record_act(author, "deleted", model, before=state_of(model))
        record_act(author, "deleted", provider, before=state_of(provider))
        ModelProvider.objects.filter(pk=provider.pk).delete()
    return True


def restore_archived(row: Model | ModelProvider, *, author: str) -> bool:
    """Bring an archived row back, switched on; False when it was not archived."""
    with transaction.atomic():
        rows = type(row)._default_manager.filter(pk=row.pk)
        if not rows.exclude(archived_at=None).update(archived_at=None, enabled=True):
            return False
        record_act(author, "unarchived", row)
    row.archived_at, row.enabled = None, True
    return True


def _archive(row: Model | ModelProvider, author: str) -> None:
    rows = type(row)._default_manager.filter(pk=row.pk, archived_at=None)
    now = datetime.now(UTC)
    if rows.update(enabled=False, archived_at=now):
        record_act(author, "archived", row)
    row.refresh_from_db(fields=["enabled", "archived_at"])
