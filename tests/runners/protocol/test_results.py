import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.protocol.errors import ErrorCode
from runners.protocol.results import (
    INCREMENT,
    MAX_PAYLOAD_BYTES,
    RESULT_TYPES,
    ArtifactCreated,
    InvalidResult,
    MalformedResult,
    MessageChunk,
    MessageDelta,
    OversizeResult,
    ResultError,
    RunCompleted,
    RunFailed,
    ToolCallCompleted,
    UnknownResultType,
    delta_text,
    parse_result,
)
from runners.sdk import results

FRAMES = Path(__file__).parents[2] / "data" / "frames"
RECORDED = [
    data
    for path in sorted(FRAMES.glob("*.jsonl"))
    for line in path.read_text(encoding="utf-8").splitlines()
    if "type" in (data := json.loads(line).get("frame", {}).get("data", {}))
]


def chunk(content, **fields):
    return MessageChunk(content=content, **fields)


def increment(content):
    return chunk(content, provider_specific_fields=INCREMENT)


def chunk_of(raw):
    data = parse_result(raw).data
    assert isinstance(data, MessageDelta)
    return data.chunk


def joined(chunks):
    text = ""
    for part in chunks:
        text += delta_text(part, text)
    return text


def test_every_recorded_result_is_valid():
    types = [parse_result(data).type for data in RECORDED]
    assert {"message.delta", "state.updated", "run.completed", "run.failed"} <= {*types}


def test_recorded_cumulative_deltas_give_their_text_once():
    chunks = [chunk_of(data) for data in RECORDED if data["type"] == "message.delta"]
    assert joined(chunks[:4]) == "Hi from n8n"


@pytest.mark.parametrize(
    ("chunks", "text"),
    [
        ([increment("ha"), increment("haha")], "hahaha"),
        ([chunk("ha"), chunk("haha")], "haha"),
        ([chunk("Hi "), chunk("from "), chunk("here")], "Hi from here"),
        ([chunk("a", all_content="a"), chunk("a", all_content="aa")], "aa"),
        ([chunk("done"), chunk("done", is_final=True)], "done"),
        ([chunk(""), chunk(None), chunk("x")], "x"),
        ([chunk("long"), chunk("x", all_content="lo")], "long"),
    ],
)
def test_chunks_add_up_to_the_text_that_was_meant(chunks, text):
    assert joined(chunks) == text


@given(st.lists(st.text(max_size=5)))
def test_increments_of_our_sdk_add_up(parts):
    raw = [{"type": r.type, "data": r.data} for r in map(results.delta, parts)]
    assert joined(map(chunk_of, raw)) == "".join(parts)


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1))
def test_cumulative_text_adds_up(parts):
    texts = ["".join(parts[:end]) for end in range(1, len(parts) + 1)]
    assert joined(map(chunk, texts)) == "".join(parts)


VALID: dict[str, dict[str, Any]] = {
    "message.delta": {"chunk": {"role": "assistant", "content": "x"}},
    "message.completed": {"message": {"content": [{"type": "text", "text": "x"}]}},
    "reasoning.delta": {"text": "hm"},
    "artifact.created": {"artifact_type": "file", "content_base64": "eA=="},
    "state.updated": {"scope": "actor", "key": "k", "value": None},
    "action.requested": {"action": "interaction.requested", "payload": {"a": 1}},
    "processor.log": {"text": "x", "level": "warning"},
    "run.completed": {"finish_reason": "stop", "message": None},
    "run.failed": {"error": "x"},
}


def test_every_strict_type_is_covered():
    loose = {"tool.call.started", "tool.call.completed"}
    assert RESULT_TYPES.keys() == VALID.keys() | loose


@pytest.mark.parametrize("result_type", VALID)
def test_a_valid_payload_is_accepted(result_type):
    parsed = parse_result(
        {"run_id": "r", "type": result_type, "data": VALID[result_type], "sequence": 3}
    )
    assert isinstance(parsed.data, RESULT_TYPES[result_type])
    assert (parsed.run_id, parsed.sequence) == ("r", 3)
    assert parsed.is_terminal == result_type.startswith("run.")


@pytest.mark.parametrize("result_type", VALID)
@pytest.mark.parametrize("damage", ["extra", "empty", "list", "missing", "null"])
def test_an_invalid_payload_is_told_apart(result_type, damage):
    data = {
        "extra": {**VALID[result_type], "vendor": 1},
        "empty": {"": ""},
        "list": [VALID[result_type]],
        "missing": None,
        "null": dict.fromkeys(VALID[result_type]),
    }[damage]
    with pytest.raises(InvalidResult) as caught:
        parse_result({"type": result_type, "data": data})
    assert caught.value.code == ErrorCode.INVALID_RESULT
    assert caught.value.result_type == result_type


@pytest.mark.parametrize(
    ("result_type", "data"),
    [
        ("state.updated", {"scope": "world", "key": "k", "value": 1}),
        ("state.updated", {"scope": "actor", "key": "", "value": 1}),
        ("state.updated", {"scope": "actor", "key": "k"}),
        ("state.updated", {"scope": "actor", "key": "k", "value": float("inf")}),
        ("processor.log", {"text": "x" * 65_537}),
        ("processor.log", {"text": "x", "level": "loud"}),
        ("message.completed", {"message": {"content": 5}}),
        ("message.completed", {"message": {}, "file_ids": ["f"] * 101}),
        ("message.delta", {"chunk": {"content": "x", "is_final": "yes"}}),
        ("run.failed", {"error": "x", "retryable": "no"}),
        ("artifact.created", {"artifact_type": "file", "content_base64": "?"}),
        ("artifact.created", {"artifact_type": "file", "size": -1}),
    ],
)
def test_a_payload_against_its_rules_is_invalid(result_type, data):
    with pytest.raises(InvalidResult):
        parse_result({"type": result_type, "data": data})


def test_an_invalid_result_does_not_repeat_its_values():
    data = {"scope": "secret-token", "key": "k", "value": 1}
    with pytest.raises(InvalidResult) as caught:
        parse_result({"type": "state.updated", "data": data})
    assert "secret-token" not in caught.value.message
    assert "scope" in caught.value.message


def test_an_unknown_type_is_told_apart_and_kept():
    with pytest.raises(UnknownResultType) as caught:
        parse_result({"type": "vendor.custom", "data": {"a": float("inf")}})
    assert caught.value.code == ErrorCode.UNKNOWN_RESULT_TYPE
    assert caught.value.result_type == "vendor.custom"
    assert caught.value.data == {"a": None}


@pytest.mark.parametrize("raw", [{}, {"type": 5, "data": {}}, {"type": "", "data": {}}])
def test_a_result_without_a_type_breaks_the_protocol(raw):
    with pytest.raises(MalformedResult) as caught:
        parse_result(raw)
    assert caught.value.code == ErrorCode.RUNNER_PROTOCOL_ERROR


def test_tool_calls_are_loose_telemetry():
    data = {"tool_call_id": 7, "result": [1], "error": {"odd": 1}, "vendor": True}
    parsed = parse_result({"type": "tool.call.completed", "data": data}).data
    assert isinstance(parsed, ToolCallCompleted)
    assert parsed.tool_call_id == "7"
    assert parsed.model_extra == {"vendor": True}


def test_numbers_that_are_none_are_no_sequence():
    for sequence in ("1", 1.0, True, None):
        raw: dict[str, Any] = {"type": "run.completed", "data": {}}
        raw["sequence"] = sequence
        assert parse_result(raw).sequence is None


def test_usage_is_kept_with_what_it_has_beyond():
    usage = {"prompt_tokens": 1, "total_tokens": 2, "cached": 3}
    raw = {"type": "run.completed", "data": {}, "usage": usage}
    assert parse_result(raw).usage == usage


def test_missing_fields_have_the_defaults_of_the_table():
    completed = parse_result({"type": "run.completed", "data": {}}).data
    failed = parse_result({"type": "run.failed", "data": {"error": "x"}}).data
    assert completed == RunCompleted(finish_reason="stop", message=None)
    assert failed == RunFailed(error="x", code="runner.error", retryable=False)


@pytest.mark.parametrize("frame_bytes", [None, MAX_PAYLOAD_BYTES * 2])
def test_a_payload_over_1_mib_is_oversize(frame_bytes):
    data = {"chunk": {"content": "x" * MAX_PAYLOAD_BYTES}}
    with pytest.raises(OversizeResult) as caught:
        parse_result({"type": "message.delta", "data": data}, frame_bytes=frame_bytes)
    assert caught.value.code == ErrorCode.TOO_LARGE
    data = {"chunk": {"content": "x" * (MAX_PAYLOAD_BYTES - 100)}}
    parse_result({"type": "message.delta", "data": data}, frame_bytes=frame_bytes)


def artifact(size):
    content = base64.b64encode(bytes(size)).decode()
    data = {"artifact_type": "file", "content_base64": content}
    return {"type": "artifact.created", "data": data}


def test_an_artifact_may_hold_1_mib_inline():
    parsed = parse_result(artifact(1024 * 1024)).data
    assert isinstance(parsed, ArtifactCreated)
    assert len(parsed.content() or b"") == 1024 * 1024
    with pytest.raises(InvalidResult):
        parse_result(artifact(1024 * 1024 + 1))
    with pytest.raises(OversizeResult):
        parse_result(artifact(1200 * 1024))


@given(
    st.dictionaries(
        st.sampled_from(["type", "data", "run_id", "sequence", "usage"]),
        st.sampled_from([*RESULT_TYPES, None, 5, "x", {}, {"chunk": {}}, [], 1.5]),
    )
)
def test_any_envelope_is_a_result_or_a_result_error(raw):
    try:
        parsed = parse_result(raw)
    except ResultError as error:
        assert error.message
    else:
        assert parsed.type in RESULT_TYPES


def test_a_delta_is_parsed_in_under_100_microseconds():
    """Aim 10 µs; the bound leaves room for a busy machine."""
    raw = next(data for data in RECORDED if data["type"] == "message.delta")
    best = min(_seconds(raw) for _ in range(20))
    assert best / 100 < 100e-6


def _seconds(raw):
    started = time.perf_counter()
    for _ in range(100):
        assert type(parse_result(raw, frame_bytes=400).data) is MessageDelta
    return time.perf_counter() - started
