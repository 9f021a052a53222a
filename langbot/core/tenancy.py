"""The way from any row of ours to its workspace."""

from functools import cache

from django.db.models import ForeignKey, Model

from langbot.core.models import Workspace

OUR_APPS = "langbot_"  # how the labels of our apps begin


def is_ours(model: type[Model]) -> bool:
    """Whether a model belongs to an app of the host."""
    return model._meta.app_label.startswith(OUR_APPS)


@cache
def path_to_workspace(model: type[Model]) -> str | None:
    """Return the query path from a row to its workspace, such as `agent__workspace`.

    `pk` for a workspace itself; None for rows that belong to the installation.
    """
    if model is Workspace:
        return "pk"
    for field in _links(model):
        further = path_to_workspace(field.related_model)
        if further is not None:
            own = field.related_model is Workspace
            return field.name if own else f"{field.name}__{further}"
    return None


def workspace_id_of(row: Model) -> int | None:
    """Return the key of a row's workspace; None for rows of the installation."""
    path = path_to_workspace(type(row))
    if path is None:
        return None
    *links, last = path.split("__")
    found = row
    for name in links:
        found = getattr(found, name)
        if found is None:
            return None
    key: int | None = getattr(found, last if last == "pk" else f"{last}_id")
    return key


def _links(model: type[Model]) -> list["ForeignKey[Model, Model]"]:
    """Return the row's references, those first that lead to the workspace at once."""
    links = [
        field
        for field in model._meta.concrete_fields
        if isinstance(field, ForeignKey)
        and field.related_model is not model
        and is_ours(field.related_model)
    ]
    return sorted(links, key=lambda f: (f.related_model is not Workspace, f.null))
