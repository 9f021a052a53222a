"""Results over 1 MiB: a text is cut and kept whole elsewhere, all else is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runners.protocol.results import MAX_PAYLOAD_BYTES

KEPT_CHARACTERS = 10_000  # of the text, in the ledger (LB-57)
# With less text than this, something else in the result is what is too large.
_LARGE_BYTES = MAX_PAYLOAD_BYTES // 2

# Where each type has its text.
_PLACES = {
    "message.delta": ("chunk", "content"),
    "message.completed": ("message", "content"),
    "run.completed": ("message", "content"),
    "reasoning.delta": ("text",),
    "processor.log": ("text",),
}


@dataclass(frozen=True, slots=True)
class Shortened:
    """A result with less text; `whole` is the text to keep, None when none is lost.

    A text that was said before was measured then, and comes in its full size.
    """

    raw: dict[str, Any]
    whole: str | None = None
    was_said: bool = False


def shorten(raw: Mapping[str, Any], said: str, last: str) -> Shortened | None:
    """Return the result with the beginning of its text; None when it has none.

    `said` is the text of the open message, `last` the one before. Where a runner
    repeats them, or sends all text so far with each delta, only what is new counts.
    """
    text = _text_of(raw)
    if text is None:
        return None
    kind = raw["type"]
    if kind in {"message.completed", "run.completed"} and text == (said or last):
        return Shortened(dict(raw), was_said=True)
    repeats = kind == "message.delta" and text.startswith(said)
    new = text[len(said) :] if repeats else text
    if len(new.encode()) <= _LARGE_BYTES:
        return Shortened(_with_text(raw, new))
    return Shortened(_with_text(raw, new[:KEPT_CHARACTERS]), text)


def _text_of(raw: Mapping[str, Any]) -> str | None:
    holder: Any = raw.get("data")
    *path, name = _PLACES.get(str(raw.get("type")), ("",))
    for step in path:
        holder = holder.get(step) if isinstance(holder, dict) else None
    value = holder.get(name) if isinstance(holder, dict) else None
    if isinstance(value, list):
        return "".join(part["text"] for part in value) if _is_plain(value) else None
    return value if isinstance(value, str) else None


def _is_plain(parts: list[Any]) -> bool:
    return all(
        isinstance(part, dict)
        and part.get("type") == "text"
        and isinstance(part.get("text"), str)
        for part in parts
    )


def _with_text(raw: Mapping[str, Any], text: str) -> dict[str, Any]:
    data = raw["data"]
    *path, name = _PLACES[raw["type"]]
    if path:
        (step,) = path
        holder = {k: v for k, v in data[step].items() if k != "all_content"}
        return {**raw, "data": {**data, step: {**holder, name: text}}}
    return {**raw, "data": {**data, name: text}}
