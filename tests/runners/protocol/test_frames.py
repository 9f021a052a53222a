import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.frames import (
    END,
    MAX_FRAME_BYTES,
    FrameError,
    Request,
    Response,
    build_end,
    build_error,
    build_request,
    build_response,
    parse_frame,
)

FRAMES = Path(__file__).parents[2] / "data" / "frames"
RECORDED = [
    pytest.param(record["frame"], id=f"{path.stem}-{number}")
    for path in sorted(FRAMES.glob("*.jsonl"))
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines())
    if "frame" in (record := json.loads(line))
]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(
                st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)
objects = st.dictionaries(
    st.text(st.characters(codec="ascii"), max_size=8), json_values
)
seq_ids = st.integers(0, 2**63 - 1)


@pytest.mark.parametrize("frame", RECORDED)
def test_every_recorded_frame_is_read_as_sent(frame):
    parsed = parse_frame(json.dumps(frame))
    assert parsed.seq_id == frame["seq_id"]
    assert parsed.data == frame["data"]
    if isinstance(parsed, Request):
        assert parsed.action == frame["action"]
        assert parsed.wants_flow_control == ("stream_flow_control" in frame)
    else:
        assert parsed.code == frame["code"]
        assert parsed.is_end == (frame["code"] != 0 or frame["chunk_status"] == "end")
        assert parsed.stream_index == frame.get("stream_index")


def test_the_recordings_hold_both_directions():
    parsed = [parse_frame(json.dumps(param.values[0])) for param in RECORDED]
    assert {type(frame) for frame in parsed} == {Request, Response}


@given(st.text() | st.binary())
def test_any_text_is_a_frame_or_a_frame_error(text):
    try:
        frame = parse_frame(text)
    except FrameError as error:
        assert error.code == ErrorCode.INVALID_REQUEST
    else:
        assert isinstance(frame, Request | Response)


@given(json_values)
def test_any_json_is_a_frame_or_a_frame_error(value):
    try:
        parse_frame(json.dumps(value))
    except FrameError as error:
        assert error.message


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "seq_id": json_values,
            "action": json_values,
            "code": json_values,
            "message": json_values,
            "data": json_values,
            "chunk_status": json_values,
            "context": json_values,
        },
    )
)
def test_a_frame_of_wrong_types_is_refused_or_well_typed(value):
    try:
        frame = parse_frame(json.dumps(value))
    except FrameError:
        return
    assert type(frame.seq_id) is int
    assert type(frame.data) is dict
    text = frame.action if isinstance(frame, Request) else frame.message
    assert type(text) is str


@given(seq_ids, st.text(st.characters(codec="ascii"), min_size=1), json_values)
def test_a_request_survives_the_wire(seq_id, action, value):
    action = action.replace("\x00", "x")
    frame = parse_frame(build_request(seq_id, action, {"value": value}))
    assert frame == Request(seq_id, action, {"value": value})


@given(seq_ids, json_values)
def test_a_response_survives_the_wire(seq_id, value):
    frame = parse_frame(build_response(seq_id, {"value": value}))
    assert frame == Response(seq_id, 0, "success", {"value": value})


def test_an_end_ends_the_stream():
    frame = parse_frame(build_end(5))
    assert frame == Response(5, 0, "success", {}, END)
    assert frame.is_end


def test_an_error_keeps_code_message_retryable_and_details():
    error = ProtocolError(
        ErrorCode.NOT_FOUND, "no such run", retryable=True, details={"id": "x"}
    )
    frame = parse_frame(build_error(7, error))
    assert isinstance(frame, Response)
    assert frame.is_error
    assert frame.is_end
    assert frame.error("run_get").as_dict() == error.as_dict()


def test_an_error_directly_in_data_is_read():
    frame = Response(1, 1, "no", {"code": "not_found", "message": "gone"})
    assert frame.error().code == "not_found"
    assert frame.error().message == "gone"


def test_a_bare_error_gets_the_code_the_sdk_gives_it():
    error = Response(1, 1, "ValueError: no", {"a": 1}).error("state_get")
    assert error.code == "host.action_error"
    assert error.details == {"action": "state_get", "response_data": {"a": 1}}


def test_a_bad_request_tells_which_number_to_answer():
    with pytest.raises(FrameError) as caught:
        parse_frame('{"seq_id": 9, "action": 3, "data": {}}')
    assert caught.value.seq_id == 9


@pytest.mark.parametrize("seq_id", ["1", 1.5, True, None, -1, 2**63])
def test_a_seq_id_that_is_no_number_is_refused(seq_id):
    with pytest.raises(FrameError):
        parse_frame(json.dumps({"seq_id": seq_id, "action": "x", "data": {}}))


@pytest.mark.parametrize("text", ["{", "[]", "1", "null", '{"a": NaN}', "[" * 5000])
def test_other_json_is_refused(text):
    with pytest.raises(FrameError):
        parse_frame(text)


def test_frames_over_16_mib_are_refused_both_ways():
    text = "x" * MAX_FRAME_BYTES
    with pytest.raises(FrameError) as caught:
        parse_frame('{"seq_id":1,"action":"x","data":{"t":"' + text + '"}}')
    assert caught.value.code == ErrorCode.TOO_LARGE
    with pytest.raises(FrameError) as caught:
        build_request(1, "x", {"t": text})
    assert caught.value.code == ErrorCode.TOO_LARGE


def test_what_json_cannot_hold_is_refused():
    for value in (object(), "\ud800"):
        with pytest.raises(FrameError):
            build_request(1, "x", {"value": value})


def test_infinities_leave_as_null():
    frame = parse_frame(build_request(1, "x", {"value": float("inf")}))
    assert frame.data == {"value": None}


def test_nul_characters_are_removed():
    text = json.dumps({"seq_id": 1, "action": "x", "data": {"a\0": ["b\0c", 1]}})
    assert parse_frame(text).data == {"a": ["bc", 1]}
    assert parse_frame(text.encode()).data == {"a": ["bc", 1]}


def test_unknown_keys_are_ignored():
    frame = parse_frame('{"seq_id":1,"action":"x","data":{},"vendor":[1]}')
    assert frame == Request(1, "x", {})
