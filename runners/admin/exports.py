"""Selected rows as CSV or JSON, streamed: a million rows need no more memory than one
page of them."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils.timezone import localtime, now
from django.utils.translation import gettext_lazy as _

from langbot.core.access import author_of
from langbot.core.audit import record_host_act
from langbot.threads import ThreadedStream

PAGE = 500  # rows read at once
# A spreadsheet takes cells that begin so for formulas, and would run them.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True, slots=True)
class Column:
    """One value of every row; of no concern to people without `permission`."""

    name: str
    read: Callable[[Any], Any]
    permission: str = ""


class Exports:
    """An admin whose rows can be taken along as a file."""

    export_columns: tuple[Column, ...] = ()
    export_related: tuple[str, ...] = ()  # what the columns read beyond their row

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Whether the person may export: those who may see the rows."""
        return bool(self.has_view_permission(request))  # type: ignore[attr-defined]  # of ModelAdmin

    @admin.action(description=_("Export as CSV"), permissions=["export"])
    def export_csv(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        return self._export(request, queryset, "csv")

    @admin.action(description=_("Export as JSON"), permissions=["export"])
    def export_json(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        return self._export(request, queryset, "json")

    def _export(
        self, request: HttpRequest, rows: QuerySet[Any], form: str
    ) -> HttpResponseBase:
        columns = [
            column
            for column in self.export_columns
            if not column.permission or request.user.has_perm(column.permission)
        ]
        what = {
            "model": rows.model._meta.label_lower,
            "format": form,
            "list": request.GET.urlencode()[:1000],
        }
        record_host_act(author_of(request), "exported", what)
        return streamed(rows.select_related(*self.export_related), columns, form)


def streamed(
    rows: QuerySet[Any], columns: list[Column], form: str
) -> StreamingHttpResponse:
    """Answer with rows as a file to be saved, newest first."""
    write = csv_parts if form == "csv" else json_parts
    kind = "text/csv; charset=utf-8" if form == "csv" else "application/json"
    parts = write(pages_of(rows), columns)
    return attachment(parts, kind, str(rows.model._meta.model_name), form)


def attachment(
    parts: Iterator[Any], kind: str, name: str, suffix: str
) -> StreamingHttpResponse:
    """Answer with a file to be saved, sent as its parts are made."""
    response = ThreadedStream(parts, content_type=kind)
    stamp = f"{localtime(now()):%Y%m%d-%H%M%S}"
    file = f"{name}-{stamp}.{suffix}"
    response["Content-Disposition"] = f'attachment; filename="{file}"'
    response["Cache-Control"] = "no-store"
    return response


def pages_of(rows: QuerySet[Any]) -> Iterator[list[Any]]:
    """Yield the rows newest first, by key: each page is one short query."""
    ordered = rows.order_by("-pk")
    page = list(ordered[:PAGE])
    while page:
        yield page
        page = list(ordered.filter(pk__lt=page[-1].pk)[:PAGE])


def csv_parts(pages: Iterable[list[Any]], columns: list[Column]) -> Iterator[str]:
    """Yield CSV, page by page; the mark at its start tells spreadsheets: UTF-8."""
    line = csv.writer(_Line())
    yield "\ufeff" + line.writerow([column.name for column in columns])
    for page in pages:
        yield "".join(
            line.writerow([_cell(column.read(row)) for column in columns])
            for row in page
        )


def json_parts(pages: Iterable[list[Any]], columns: list[Column]) -> Iterator[str]:
    """Yield a JSON list of objects, page by page."""
    before = "[\n"
    for page in pages:
        objects = (
            {column.name: column.read(row) for column in columns} for row in page
        )
        texts = (
            json.dumps(one, cls=DjangoJSONEncoder, ensure_ascii=False)
            for one in objects
        )
        yield before + ",\n".join(texts)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


class _Line:
    """What `csv.writer` writes to: hands the line back."""

    def write(self, line: str) -> str:
        return line


def _cell(value: Any) -> str:
    """Return a value as text that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, list | dict):
        value = json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    is_number = isinstance(value, int | float)
    return f"'{text}" if text.startswith(_FORMULA) and not is_number else text


__all__ = [
    "Column",
    "Exports",
    "attachment",
    "csv_parts",
    "json_parts",
    "pages_of",
    "streamed",
]
