"""Models inside a configuration: by id in the database, by name in a document."""

from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from agents.models import Model
from langbot.core.models import Workspace

MARK = "$model"
Change = Callable[[Any], Any]


class ModelReferences:
    """The models of a workspace when the object was made."""

    def __init__(self, workspace: Workspace) -> None:
        models = Model.objects.filter(provider__workspace=workspace)
        rows = models.values_list("public_id", "provider__name", "name")
        self._names = {str(row_id): (provider, name) for row_id, provider, name in rows}
        self._ids = {names: row_id for row_id, names in self._names.items()}

    def to_names(self, value: Any) -> Any:
        """Replace ids of models by `{"$model": {"provider", "name"}}`."""
        return _replace(value, self._named)

    def to_ids(self, value: Any) -> Any:
        """Replace names by ids; raises ValidationError for a model there is not."""
        return _replace(value, self._identified)

    def _named(self, value: Any) -> Any:
        if not isinstance(value, str) or value not in self._names:
            return value
        provider, name = self._names[value]
        return {MARK: {"provider": provider, "name": name}}

    def _identified(self, value: Any) -> Any:
        if not isinstance(value, Mapping) or set(value) != {MARK}:
            return value
        named = value[MARK] if isinstance(value[MARK], Mapping) else {}
        found = self._ids.get((named.get("provider"), named.get("name")))  # type: ignore[arg-type]  # anything else is simply unknown
        if found is None:
            message = _("There is no model %(name)s of the provider %(provider)s.")
            named = {"name": named.get("name"), "provider": named.get("provider")}
            raise ValidationError(message % named)
        return found


def _replace(value: Any, change: Change) -> Any:
    changed = change(value)
    if changed is not value:
        return changed
    if isinstance(value, Mapping):
        return {name: _replace(item, change) for name, item in value.items()}
    if isinstance(value, list):
        return [_replace(item, change) for item in value]
    return value
