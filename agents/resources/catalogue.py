"""Which models a workspace offers to its agents."""

from typing import TypedDict
from uuid import UUID

from agents.choices import ModelKind
from agents.resources.models import Model

# What the released SDK checks before it calls (wire 6); embedding is an "invoke".
OPERATIONS: dict[str, list[str]] = {
    ModelKind.LLM: ["invoke", "stream", "count_tokens"],
    ModelKind.RERANK: ["rerank"],
    ModelKind.EMBEDDING: ["invoke"],
}


class VisibleModel(TypedDict):
    """An entry of a run's `resources.models` (wire 5.2, LB-44).

    The window is not part of it: runners read that of their first model elsewhere.
    """

    model_id: str
    model_type: str
    provider: str
    operations: list[str]
    context_window_tokens: int | None


def visible_models(workspace_id: int) -> list[VisibleModel]:
    """Return the enabled models of a workspace by provider and name, without keys."""
    rows = Model.objects.filter(
        enabled=True, provider__enabled=True, provider__workspace_id=workspace_id
    ).order_by("provider__name", "name", "pk")
    return [
        VisibleModel(
            model_id=str(public_id),
            model_type=kind,
            provider=provider,
            operations=list(OPERATIONS.get(kind, [])),
            context_window_tokens=window,
        )
        for public_id, kind, provider, window in rows.values_list(
            "public_id", "kind", "provider__name", "context_window_tokens"
        )
    ]


def public_id_of(model_id: str) -> UUID | None:
    """Return the id as the database has it; None for `__none__` and other words."""
    try:
        return UUID(model_id)
    except (ValueError, AttributeError, TypeError):
        return None
