"""Model providers and models of a document."""

from typing import Any

from agents.models import Model, ModelProvider
from langbot.configuration.documents import ProviderDocument
from langbot.core.audit import record_change, state_of
from langbot.core.authors import check_secrets
from langbot.core.models import Workspace


def save_provider(
    workspace: Workspace, wanted: ProviderDocument, *, author: str
) -> None:
    """Write a provider and the models that the document names; others stay.

    Without an `api_key` the stored one stays. Raises ValidationError.
    """
    mine = ModelProvider.objects.filter(workspace=workspace, name=wanted.name)
    provider = mine.first() or ModelProvider(workspace=workspace)
    content = wanted.model_dump(exclude={"models", "api_key"})
    if wanted.api_key is not None:
        content["api_key"] = wanted.api_key
    _save(provider, content, author)
    for model in wanted.models:
        known = Model.objects.filter(provider=provider, name=model.name).first()
        _save(known or Model(provider=provider), model.model_dump(), author)


def _save(row: Any, content: dict[str, Any], author: str) -> None:
    is_new = row.pk is None
    before = {} if is_new else state_of(row)
    same = all(getattr(row, name) == value for name, value in content.items())
    if same and not is_new:
        return
    if "api_key" in content:
        check_secrets(author, {"": row.api_key}, {"": content["api_key"]})
    for name, value in content.items():
        setattr(row, name, value)
    row.full_clean()
    row.save()
    record_change(author, row, before)
