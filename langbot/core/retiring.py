"""What is in use stays: deleting it retires it, and says where it is used."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.utils import model_ngettext
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from langbot.core.access import author_of
from langbot.core.audited_admin import AuditedAdmin


@dataclass(frozen=True, slots=True)
class Use:
    """One place that uses a row; `url` leads there. `blocks`: change that one first."""

    text: Any  # or a lazy translation
    url: str = ""
    blocks: bool = False


class RetiringAdmin(AuditedAdmin):
    """Deletes what nothing uses and retires the rest."""

    retire_label: Any = gettext_lazy("Archive it")
    retire_text: Any = gettext_lazy("It is archived instead: what names it stays.")
    kept_text: Any = gettext_lazy("%(object)s (in use: %(uses)s; archived instead)")

    def uses_of(self, row: Any) -> list[Use]:
        """Return where a row is used; an empty list lets it be deleted."""
        raise NotImplementedError

    def remove(self, row: Any, author: str) -> bool:
        """Delete a row or retire it, with an audit entry; True when deleted."""
        raise NotImplementedError

    def retired_message(self, count: int) -> str:
        """Say that so many rows were retired."""
        raise NotImplementedError

    def delete_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        uses = self.uses_of(row) if row is not None else []
        if row is None or not uses:
            return super().delete_view(request, object_id, extra_context)
        if not self.has_delete_permission(request, row):
            raise PermissionDenied
        is_blocked = any(use.blocks for use in uses)
        if request.method == "POST" and not is_blocked:
            self.delete_model(request, row)
            return HttpResponseRedirect(self._url("changelist"))
        context = {
            **self.admin_site.each_context(request),
            "title": _("%(object)s is in use") % {"object": row},
            "opts": self.opts,
            "media": self.media,
            "original": row,
            "back_url": self._url("change", row.pk),
            "uses": uses,
            "is_blocked": is_blocked,
            "is_retired": getattr(row, "archived_at", None) is not None,
            "retire_text": self.retire_text,
            "retire_label": self.retire_label,
        }
        return TemplateResponse(request, "admin/langbot_core/in_use.html", context)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self._say_removed(request, [self.remove(obj, author_of(request))])

    def response_delete(
        self, request: HttpRequest, obj_display: str, obj_id: Any
    ) -> HttpResponse:
        # `delete_model` has said what became of it.
        return HttpResponseRedirect(self._url("changelist"))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Name the rows only: what hangs on them follows or keeps them."""
        meta = self.opts
        named = [
            self.kept_text
            % {"object": row, "uses": ", ".join(str(use.text) for use in uses)}
            if (uses := self.uses_of(row))
            else str(row)
            for row in objs
        ]
        allowed = self.has_delete_permission(request)
        refused = set() if allowed else {str(meta.verbose_name)}
        return named, {str(meta.verbose_name_plural): len(named)}, refused, []

    @admin.action(
        description=gettext_lazy("Delete selected %(verbose_name_plural)s"),
        permissions=["delete"],
    )
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Ask, then delete or retire each."""
        if not request.POST.get("post"):
            return delete_selected(self, request, queryset)
        author = author_of(request)
        rows = [row for row in queryset if not self._blocked(request, row)]
        self._say_removed(request, [self.remove(row, author) for row in rows])
        return None

    def _blocked(self, request: HttpRequest, row: Any) -> bool:
        blocking = [use for use in self.uses_of(row) if use.blocks]
        for use in blocking:
            text = _("%(object)s is kept: %(use)s") % {"object": row, "use": use.text}
            self.message_user(request, text, messages.ERROR)
        return bool(blocking)

    def _say_removed(self, request: HttpRequest, were_deleted: Iterable[bool]) -> None:
        answers = list(were_deleted)
        deleted, retired = answers.count(True), answers.count(False)
        if deleted:
            items = model_ngettext(self.opts, deleted)
            text = _("%(count)d %(items)s deleted.")
            text = text % {"count": deleted, "items": items}
            self.message_user(request, text, messages.SUCCESS)
        if retired:
            text = self.retired_message(retired)
            self.message_user(request, text, messages.WARNING)

    def _url(self, page: str, *args: Any) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}"
        return reverse(name, args=args)
