"""Naming one person: where they speak, and their id there."""

from typing import Any
from uuid import UUID

from django import forms
from django.apps import apps
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from langbot.core.access import actor_of_user, visible_rows
from langbot.core.models import Workspace
from langbot.lib.admin import dress
from runners.admin.people import is_bounded
from runners.people.persons import Person

_ACCOUNT = "account"


class PersonForm(forms.Form):
    """Somebody at a bot, at the API of a workspace, or with an account here.

    Offers the bots and workspaces of who asks; accounts, who speak in all of them, to
    superusers only.
    """

    place = forms.ChoiceField(label=gettext_lazy("Where they speak"))
    actor = forms.CharField(
        label=gettext_lazy("Their id"),
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text=gettext_lazy(
            "As the platform names them; of who calls REST, such as user:7; of an "
            "account the username."
        ),
    )

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_bounded = is_bounded(request)
        # By name: `platforms` is a layer above this app.
        bots = apps.get_model("langbot_platforms", "Bot")._default_manager
        named = bots.select_related("workspace").defer("secrets").order_by("name")
        places = visible_rows(request.user, Workspace.objects.order_by("name"))
        self.bots = {
            str(bot.public_id): bot for bot in visible_rows(request.user, named)
        }
        self.workspaces = {place.slug: place for place in places}
        field: Any = self.fields["place"]
        field.choices = self._choices()
        dress(self.fields.values())

    def _choices(self) -> list[Any]:
        bots = [
            (f"bot:{key}", f"{bot.name} ({bot.slug})") for key, bot in self.bots.items()
        ]
        api = [(f"api:{one.slug}", one.name) for one in self.workspaces.values()]
        account = [(_ACCOUNT, _("an account here, wherever it speaks"))]
        return [
            *([(_("Bots"), bots)] if bots else []),
            *([(_("REST, in the workspace"), api)] if api else []),
            *([] if self.is_bounded else account),
        ]

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        if not self.errors:
            given["person"] = self._person(given["place"], given["actor"])
        return given

    def _person(self, place: str, actor: str) -> Person | None:
        if place == _ACCOUNT:
            return self._account(actor)
        kind, _colon, key = place.partition(":")
        if kind == "bot":
            bot = self.bots[key]
            bot_id: UUID = bot.public_id
            return Person(actor, bot.workspace, bot_id, within=self.is_bounded)
        return Person(actor, self.workspaces[key], within=self.is_bounded)

    def _account(self, name: str) -> Person | None:
        users = get_user_model()
        user = users._default_manager.filter(**{users.USERNAME_FIELD: name}).first()
        if user is None:
            self.add_error("actor", _("There is no such account."))
            return None
        return Person(str(actor_of_user(user)["id"]), username=name)


class ErasingForm(PersonForm):
    """The same with the id typed once more; `gone` counts what went before."""

    confirmed = forms.CharField(
        label=gettext_lazy("Type the id to erase them"),
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    gone = forms.IntegerField(required=False, min_value=0, widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        given = super().clean()
        if "confirmed" in given and given["confirmed"] != given.get("actor"):
            self.add_error("confirmed", _("This is not the id above."))
        return given


__all__ = ["ErasingForm", "PersonForm"]
