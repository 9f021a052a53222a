"""The table of host calls in `tests/data/host_calls.json`, one row for each action."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PATH = Path(__file__).parents[1] / "data" / "host_calls.json"
_TABLE = json.loads(_PATH.read_text(encoding="utf-8"))
COLUMNS = frozenset(
    {
        *("granted", "withheld", "conversation", "workspace"),
        *("wrong_run", "wrong_plugin", "ended", "late", "over"),
    }
)
CALLS: dict[str, dict[str, Any]] = {
    action: {**_TABLE["defaults"], **row} for action, row in _TABLE["calls"].items()
}


def fill(data: Any, ids: Mapping[str, str]) -> Any:
    """Return a row's data with each `$name` replaced by an id."""
    if isinstance(data, dict):
        return {key: fill(value, ids) for key, value in data.items()}
    if isinstance(data, list):
        return [fill(value, ids) for value in data]
    if isinstance(data, str) and data.startswith("$"):
        return ids[data[1:]]
    return data


def too_large(row: Mapping[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    """Return the row's data, larger than it may be."""
    data, over = dict(fill(row["data"], ids)), row["over"]
    if "filler" in over:
        return {**data, "filler": "x" * over["filler"]}
    is_text = "length" in over
    value: Any = (
        "x" * over["length"] if is_text else [over.get("of", {})] * over["items"]
    )
    return {**data, over["field"]: value}


def said(answer: Any) -> str:
    """Return all text of an answer, base64 decoded as well."""
    text = json.dumps(answer)
    encoded = [answer.get(name) for name in ("value_base64", "content_base64")]
    return text + "".join(
        base64.b64decode(one).decode("utf-8", "replace") for one in encoded if one
    )
