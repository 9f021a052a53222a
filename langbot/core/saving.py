"""One row, written with its audit entry where that says something new."""

from collections.abc import Mapping
from typing import Any

from langbot.core.audit import record_change, state_of


def save_row(row: Any, content: Mapping[str, Any], author: str) -> None:
    """Give a new or stored row this content, in a transaction.

    A stored row that has it already is left alone. Raises ValidationError.
    """
    before = state_of(row) if row.pk is not None else {}
    if before and _has(row, content):
        return
    for name, value in content.items():
        setattr(row, name, value)
    row.full_clean()
    row.save()
    record_change(author, row, before)


def _has(row: Any, content: Mapping[str, Any]) -> bool:
    return all(getattr(row, name) == value for name, value in content.items())
