"""Model providers, models and their prices of a document."""

from agents.models import Model, ModelPrice, ModelProvider
from langbot.configuration.documents import ModelDocument, ProviderDocument
from langbot.core.authors import check_secrets
from langbot.core.models import Workspace
from langbot.core.saving import save_row


def save_provider(
    workspace: Workspace, wanted: ProviderDocument, *, author: str
) -> None:
    """Write a provider, its models and prices that the document names; others stay.

    Without an `api_key` the stored one stays. Raises ValidationError.
    """
    mine = ModelProvider.objects.filter(workspace=workspace, name=wanted.name)
    provider = mine.first() or ModelProvider(workspace=workspace)
    content = wanted.model_dump(exclude={"models", "api_key"})
    if wanted.api_key is not None:
        content["api_key"] = wanted.api_key
        check_secrets(author, {"": provider.api_key}, {"": wanted.api_key})
    save_row(provider, content, author)
    for model in wanted.models:
        _save_model(provider, model, author)


def _save_model(provider: ModelProvider, wanted: ModelDocument, author: str) -> None:
    mine = Model.objects.filter(provider=provider, name=wanted.name)
    model = mine.first() or Model(provider=provider)
    save_row(model, wanted.model_dump(exclude={"prices"}), author)
    for price in wanted.prices:
        rows = ModelPrice.objects.filter(model=model, valid_from=price.valid_from)
        row = rows.first() or ModelPrice(model=model)
        save_row(row, price.model_dump(), author)
