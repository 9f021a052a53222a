"""Frames of a plugin with something wrong in most of them, always the same ones.

Hypothesis draws them from the recorded frames and the host calls of the table: most
are changed in their structure, a quarter in their bytes. `RUN_ID` and `SEQ_ID` stand
for a live run's, which `place` fills in.
"""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.support.call_table import CALLS, fill

RUN_ID = "00000000-0000-4000-8000-000000000000"
SEQ_ID = 777_777_777
FRAMES = Path(__file__).parents[1] / "data" / "frames"

Drawn = str | bytes
"""A text message, or the bytes of one that is no UTF-8."""

_CHUNK = {"role": "assistant", "content": "a"}
_RESULTS: list[tuple[str, Any]] = [
    ("message.delta", {"chunk": _CHUNK}),
    ("message.completed", {"message": _CHUNK, "file_ids": ["ft1_0"]}),
    ("reasoning.delta", {"text": "because"}),
    ("tool.call.started", {"tool_call_id": "1", "tool_name": "t", "parameters": {}}),
    ("tool.call.completed", {"tool_call_id": "1", "result": [1, {"a": None}]}),
    ("artifact.created", {"artifact_type": "file", "content_base64": "YWJj"}),
    ("state.updated", {"scope": "conversation", "key": "k", "value": {"a": [1]}}),
    ("action.requested", {"action": "x", "target": {}, "payload": {}}),
    ("processor.log", {"text": "a", "level": "info"}),
    ("run.completed", {"finish_reason": "stop", "message": _CHUNK}),
    ("run.failed", {"error": "e", "code": "runner.error", "retryable": True}),
]
_LOCAL: dict[str, Any] = {
    "__ping": {},
    "get_langbot_version": {},
    "__cancel_action": {"seq_id": 7},
    "__stream_ack": {"seq_id": 7, "index": 1},
    "__file_chunk": {
        "file_key": "ft1_" + "0" * 64,
        "file_length": 3,
        "chunk_base64": "YWJj",
        "chunk_index": 0,
        "chunk_amount": 1,
        "chunk_size": 3,
    },
}
_IDS = dict.fromkeys(
    ("conversation", "event", "artifact", "run", "base", "model", "rerank"), RUN_ID
) | {"embedding": RUN_ID}


def _recorded() -> list[Any]:
    """Return what plugins sent in the recordings, as if for the live run."""
    found = []
    for path in sorted(FRAMES.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            told = json.loads(line)
            if told["dir"] == "plugin>host":
                found.append(_as_if_live(told["frame"]))
    return found


def _as_if_live(frame: Any) -> Any:
    if "type" in frame["data"] or frame.get("chunk_status") == "end":
        frame["seq_id"] = SEQ_ID
    if "run_id" in frame["data"]:
        frame["data"]["run_id"] = RUN_ID
    return frame


def _result(kind: str, data: Any, sequence: int) -> Any:
    body = {"run_id": RUN_ID, "type": kind, "data": data, "sequence": sequence}
    ok = {"seq_id": SEQ_ID, "code": 0, "message": "success"}
    return {**ok, "data": body, "chunk_status": "continue"}


def _templates() -> list[Any]:
    results = [_result(*result, number) for number, result in enumerate(_RESULTS, 1)]
    calls = {action: fill(row["data"], _IDS) for action, row in CALLS.items()}
    requests = [
        {"seq_id": number, "action": action, "data": {"run_id": RUN_ID, **data}}
        for number, (action, data) in enumerate({**_LOCAL, **calls}.items(), 1000)
    ]
    # Results are what plugins send most.
    return [*_recorded(), *results, *results, *requests]


TEMPLATES = _templates()
_ODD = [2**31, 2**63, 10**40, -1, 0, 1.5, 1e308, "", "\x00", "\ud800", "é💥", RUN_ID]
_NAMES = ["seq_id", "code", "action", "data", "run_id", "type", "sequence", "usage"]
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([*_ODD, "x" * 20_000, *(kind for kind, _ in _RESULTS)]),
)
_KEYS = st.one_of(st.sampled_from(_NAMES), st.text(max_size=8))
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)
    ),
    max_leaves=6,
)


def _containers(value: Any) -> list[Any]:
    """Return all objects and lists in a value, itself among them."""
    if not isinstance(value, dict | list):
        return []
    inner = value.values() if isinstance(value, dict) else value
    return [value, *(found for item in inner for found in _containers(item))]


def _change(draw: Callable[..., Any], frame: Any) -> None:
    """Replace, drop or add one member somewhere in the frame."""
    place = draw(st.sampled_from(_containers(frame)))
    keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
    what = draw(st.sampled_from(["replace", "replace", "drop", "add"]))
    if what == "add" or not keys:
        if isinstance(place, dict):
            place[draw(_KEYS)] = draw(_VALUES)
        else:
            place.append(draw(_VALUES))
        return
    key = draw(st.sampled_from(keys))
    if what == "drop":
        del place[key]
    else:
        place[key] = draw(_VALUES)


@st.composite
def structured(draw: Callable[..., Any]) -> Drawn:
    """Draw a frame that is JSON, with up to three members that are not as usual."""
    frame = deepcopy(draw(st.sampled_from(TEMPLATES)))
    for _ in range(draw(st.integers(0, 3))):
        _change(draw, frame)
    return json.dumps(frame)


@st.composite
def damaged(draw: Callable[..., Any]) -> Drawn:
    """Draw a frame with up to three places where bytes are wrong."""
    content = bytearray(json.dumps(draw(st.sampled_from(TEMPLATES))).encode())
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.integers(0, 40))
        what = draw(st.sampled_from(["flip", "drop", "again", "insert", "cut"]))
        if what == "flip" and content:
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif what == "drop":
            del content[place : place + length]
        elif what == "again":
            content[place:place] = content[place : place + length]
        elif what == "insert":
            content[place:place] = draw(st.binary(max_size=8))
        else:
            del content[len(content) - length :]
    try:
        return content.decode()
    except UnicodeDecodeError:
        # Each costs its socket, so only some stay that bad.
        is_kept = draw(st.integers(0, 40)) == 40
        return bytes(content) if is_kept else content.decode("utf-8", "replace")


def draw_frames(count: int) -> list[Drawn]:
    """Return `count` frames, the same ones each time."""
    drawn: list[Drawn] = []
    while len(drawn) < count:  # some tries of a round are thrown away
        _draw_into(drawn, count - len(drawn))
    return drawn


def _draw_into(drawn: list[Drawn], count: int) -> None:
    @seed(len(drawn))
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(*[structured()] * 3, damaged()))
    def keep(frame: Drawn) -> None:
        drawn.append(frame)

    keep()


def place(frame: Drawn, run_id: str, seq_id: int) -> Drawn:
    """Return the frame for a live run."""
    if isinstance(frame, bytes):
        named = frame.replace(RUN_ID.encode(), run_id.encode())
        return named.replace(str(SEQ_ID).encode(), str(seq_id).encode())
    return frame.replace(RUN_ID, run_id).replace(str(SEQ_ID), str(seq_id))
