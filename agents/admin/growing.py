"""Change forms that grow the settings of a choice (a runner, a platform)."""

from typing import Any, ClassVar

from django.http import HttpRequest
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from agents.forms import GROWN_FOR, PREFIX, GrowingForm
from agents.registry.config_schema import form_fields
from langbot.core.access import visible_rows
from langbot.core.conflicts import KEEP, THEIRS, ConflictAdmin
from langbot.core.models import Workspace
from langbot.lib import admin as look

# Found by `langbot_admin/admin.js`, which swaps this fieldset when the choice changes.
GROWN_CLASS = "lb-grown"


class PageMedia(look.Media):
    """Assets of the pages of agents and of what they are set up with."""

    css = {"all": ["langbot_admin/agents.css"]}
    js = ["langbot_admin/prompt.js"]


class GrowingAdmin(ConflictAdmin):
    """Shows the fields of the schema that belongs to the chosen value.

    The choice is the posted one, that of `?<field>=` (the script asks so for another
    choice's settings), or the stored one.
    """

    Media = PageMedia

    form: type[GrowingForm]
    grown_after: ClassVar[int] = 2  # fieldsets that come before the settings
    grown_title: ClassVar[Any] = _("How is it set up?")

    def schema_of(self, choice: str) -> list[dict[str, Any]]:
        """Return the config schema that belongs to a choice; each page says which."""
        raise NotImplementedError  # no ABC: an admin has a metaclass of its own

    def stored_settings(self, obj: Any) -> dict[str, Any]:
        """Return the row's settings; secrets only need to be present."""
        raise NotImplementedError  # as above

    def empty_text(self, choice: str) -> Any:
        """Say why there are no settings."""
        return _("It has no settings.") if choice else _("Choose one first.")

    def choice_of(self, request: HttpRequest, obj: Any) -> str:
        """Return the choice whose settings this request is about."""
        name = self.form.grows_from
        stored = str(getattr(obj, name)) if obj is not None else ""
        if request.method == "POST":
            keeps = request.POST.get(KEEP + name, "")
            return stored if keeps == THEIRS else request.POST.get(name, "")
        return request.GET.get(name, stored)

    def places_of(self, request: HttpRequest, obj: Any) -> Any:
        """Return the row's workspace, for a new one those that it may come to."""
        if obj is not None:
            return obj.workspace
        return visible_rows(request.user, Workspace.objects.all())

    def grown_fields(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """Return the fields of the choice, by their name in the form."""
        choice = self.choice_of(request, obj)
        same = obj is not None and getattr(obj, self.form.grows_from) == choice
        fields = form_fields(
            self.schema_of(choice),
            get_language() or "en",
            values=self.stored_settings(obj) if same else {},
            workspace=self.places_of(request, obj),
        )
        return {PREFIX + name: field for name, field in fields.items()}

    def get_form(
        self, request: HttpRequest, obj: Any = None, *change: Any, **kwargs: Any
    ) -> Any:
        fields = self.grown_fields(request, obj)
        look.dress(fields.values())
        base: Any = self.form
        places = {"places": self.places_of(request, obj)}
        kwargs["form"] = type(base.__name__, (base,), {**fields, **places})
        form: Any = super().get_form(request, obj, *change, **kwargs)
        form.base_fields[GROWN_FOR].initial = self.choice_of(request, obj)
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        names = list(self.grown_fields(request, obj))
        options: dict[str, Any] = {
            "fields": [GROWN_FOR, *names],
            "classes": [GROWN_CLASS],
        }
        if not names:
            options["description"] = self.empty_text(self.choice_of(request, obj))
        sets: list[Any] = list(super().get_fieldsets(request, obj))
        sets.insert(self.grown_after, (self.grown_title, options))
        return sets
