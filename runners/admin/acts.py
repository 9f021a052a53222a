"""Acts on records: in bulk from a list, or one at a time from its page.

An act is an ordinary admin action; `offers` names those that a row's page has as
buttons. Each row is handled by itself: what one refuses does not stop the others.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from runners.errors import AdmissionError

MOST_AT_ONCE = 500  # rows of one bulk act; each takes some milliseconds


@dataclass(slots=True)
class Done:
    """What came of an act on some rows."""

    count: int = 0
    refusals: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Offer:
    """A button on a row's page."""

    name: str
    text: str
    url: str
    is_dangerous: bool


def act_on_each(rows: Iterable[Any], act: Callable[[Any], bool]) -> Done:
    """Act on each row; `act` says whether it did something, or raises why not."""
    done = Done()
    for row in rows:
        try:
            done.count += act(row)
        except AdmissionError as error:
            done.refusals[str(error)] += 1
    return done


class Acts:
    """An admin whose rows can be acted on, from the list and from their pages."""

    # name of the action -> the text of its button
    buttons: dict[str, Any] = {}
    dangerous: frozenset[str] = frozenset()

    def offers(self, row: Any) -> Iterable[str]:
        """Return the names of the buttons that make sense for a row."""
        raise NotImplementedError

    def offered(self, request: HttpRequest, row: Any) -> list[Offer]:
        """Return the buttons of a row's page that the person may press."""
        return [
            Offer(
                name=name,
                text=self.buttons[name],
                url=self._address(row, name),
                is_dangerous=name in self.dangerous,
            )
            for name in self.offers(row)
            if self._may(request, name)
        ]

    def carry_out(
        self, request: HttpRequest, rows: QuerySet[Any], act: Callable[[Any], bool]
    ) -> None:
        """Act on the selected rows, oldest first, and say what came of it."""
        chosen = list(rows.order_by("pk")[: MOST_AT_ONCE + 1])
        done = act_on_each(chosen[:MOST_AT_ONCE], act)
        tell(self, request, done)
        if len(chosen) > MOST_AT_ONCE:
            text = _("Only the first %(count)d were taken; do the same again for more.")
            self._say(request, text % {"count": MOST_AT_ONCE}, messages.WARNING)

    def get_urls(self) -> Any:
        view = require_POST(self.admin_site.admin_view(self.act_view))  # type: ignore[attr-defined]  # of ModelAdmin
        name = f"{_names(self)}_act"
        own = path("<int:pk>/act/<slug:act>/", view, name=name)
        return [own, *super().get_urls()]  # type: ignore[misc]  # of ModelAdmin

    def act_view(self, request: HttpRequest, pk: int, act: str) -> HttpResponse:
        """Act on the row of one page, and go back to it."""
        if act not in self.buttons:
            raise Http404
        if not self._may(request, act):
            raise PermissionDenied
        rows = self.get_queryset(request)  # type: ignore[attr-defined]  # of ModelAdmin
        row = get_object_or_404(rows, pk=pk)
        getattr(self, act)(request, rows.filter(pk=row.pk))
        back = reverse(f"admin:{_names(self)}_change", args=[pk])
        return HttpResponseRedirect(back)

    def _may(self, request: HttpRequest, name: str) -> bool:
        return name in self.get_actions(request)  # type: ignore[attr-defined]  # of ModelAdmin

    def _address(self, row: Model, name: str) -> str:
        return reverse(f"admin:{_names(self)}_act", args=[row.pk, name])

    def _say(self, request: HttpRequest, text: str, level: int) -> None:
        self.message_user(request, text, level)  # type: ignore[attr-defined]  # of ModelAdmin


def tell(model_admin: Any, request: HttpRequest, done: Done) -> None:
    """Say how many rows were acted on, and why others were not."""
    text = ngettext("Done for %(count)d row.", "Done for %(count)d rows.", done.count)
    level = messages.SUCCESS if done.count else messages.WARNING
    model_admin.message_user(request, text % {"count": done.count}, level)
    for reason, count in done.refusals.most_common(5):
        left = ngettext(
            "%(count)d row was left as it is: %(reason)s",
            "%(count)d rows were left as they are: %(reason)s",
            count,
        )
        said = left % {"count": count, "reason": reason}
        model_admin.message_user(request, said, messages.WARNING)


def _names(model_admin: Any) -> str:
    meta = model_admin.opts
    return f"{meta.app_label}_{meta.model_name}"


__all__ = ["MOST_AT_ONCE", "Acts", "Done", "Offer", "act_on_each", "tell"]
