"""What differs between two JSON values, named by path."""

from collections.abc import Iterator, Mapping
from typing import Any


def differences(before: Any, after: Any) -> list[dict[str, Any]]:
    """Return `{"path", "before", "after"}` of each value that differs.

    Objects are compared member by member, everything else as a whole. A member that
    is missing on one side is null there.
    """
    return [
        {"path": path, "before": old, "after": new}
        for path, old, new in _walk("", before, after)
    ]


def _walk(path: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in {**before, **after}:
            inner = f"{path}.{name}" if path else str(name)
            yield from _walk(inner, before.get(name), after.get(name))
    elif before != after:
        yield path, before, after
