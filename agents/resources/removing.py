"""Taking models and providers away: what agents name is switched off, not deleted."""

from collections.abc import Iterable

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
    """Delete a model that no agent names, switch off any other; True when deleted."""
    with transaction.atomic():
        if agents_with([model]).exists():
            _switch_off(model, author)
            return False
        record_act(author, "deleted", model, before=state_of(model))
        Model.objects.filter(pk=model.pk).delete()
    return True


def remove_provider(provider: ModelProvider, *, author: str) -> bool:
    """Delete a provider with its models, or switch it off while agents name one."""
    with transaction.atomic():
        models = list(provider.models.all())
        if agents_with(models).exists():
            _switch_off(provider, author)
            return False
        for model in models:
            record_act(author, "deleted", model, before=state_of(model))
        record_act(author, "deleted", provider, before=state_of(provider))
        ModelProvider.objects.filter(pk=provider.pk).delete()
    return True


def _switch_off(row: Model | ModelProvider, author: str) -> None:
    rows = type(row)._default_manager.filter(pk=row.pk, enabled=True)
    if rows.update(enabled=False):
        record_act(
            author, "disabled", row, before={"enabled": True}, after={"enabled": False}
        )
    row.enabled = False
