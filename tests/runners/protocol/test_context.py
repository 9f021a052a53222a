import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from runners.protocol.context import (
    AvailableApis,
    ContextAccess,
    Delivery,
    Event,
    InputAttachment,
    RunInput,
    RunnerContext,
    Runtime,
    ToolResource,
    Trigger,
)

FRAMES = Path(__file__).parents[2] / "data" / "frames"


def recorded():
    for path in sorted(FRAMES.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            frame = json.loads(line).get("frame", {})
            if frame.get("action", "").startswith("run_"):
                yield frame["data"]["context"]


ACCEPTED = [
    raw for raw in recorded() if "zzz" not in raw["input"].get("interaction", {})
]


def without_nulls(value):
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def is_part(part, whole):
    if isinstance(part, dict):
        return all(key in whole and is_part(part[key], whole[key]) for key in part)
    if isinstance(part, list):
        return len(part) == len(whole) and all(map(is_part, part, whole))
    return part == whole


def minimal(**fields):
    return RunnerContext(
        run_id="r",
        trigger=Trigger(type="message.received"),
        event=Event(event_id="e", event_type="message.received", source="api:1"),
        input=RunInput(text="hi"),
        delivery=Delivery(surface="api"),
        resources={},
        runtime=Runtime(),
        **fields,
    )


@pytest.mark.parametrize("raw", ACCEPTED)
def test_a_recorded_context_comes_back_whole(raw):
    assert is_part(without_nulls(raw), RunnerContext.load(raw).dump())


def test_the_required_parts_of_the_wire_are_always_in_the_dump():
    dumped = minimal().dump()
    required = {"run_id", "trigger", "event", "input", "delivery", "resources"}
    assert required | {"runtime", "context", "state"} <= dumped.keys()
    assert None not in dumped.values()


def test_a_dump_has_nothing_twice_read():
    context = minimal(config={"a": None, "b": [None]}, variables={"x": None})
    dumped = context.dump()
    assert dumped["config"] == {"a": None, "b": [None]}
    assert dumped["variables"] == {"x": None}
    assert RunnerContext.load(dumped) == context


def test_unset_parameters_are_left_out_so_the_runner_asks_for_them():
    assert ToolResource(tool_name="add").model_dump() == {
        "tool_name": "add",
        "operations": [],
    }


def test_attachments_carry_only_what_is_set():
    """Older SDKs refuse keys they do not know, such as `ref`."""
    attachment = InputAttachment(type="file", name="a.txt")
    assert attachment.model_dump() == {"type": "file", "name": "a.txt"}


def test_times_are_whole_seconds_where_sdks_declare_integers():
    event = Event(event_id="e", event_type="t", source="s", event_time=12.7)
    assert event.event_time == 12


@pytest.mark.parametrize(
    "path", [("input", "attachments", 0), ("input", "interaction")]
)
def test_unknown_keys_are_refused_where_sdks_refuse_them(path):
    raw = minimal().dump()
    raw["input"]["attachments"] = [{"name": "a"}]
    raw["input"]["interaction"] = {"interaction_id": "i"}
    RunnerContext.load(raw)
    target = raw
    for key in path:
        target = target[key]
    target["vendor"] = 1
    with pytest.raises(ValidationError):
        RunnerContext.load(raw)


def test_unknown_keys_are_ignored_elsewhere():
    raw = minimal().dump()
    raw["vendor"] = 1
    raw["event"]["vendor"] = 1
    assert RunnerContext.load(raw) == minimal()


def test_every_api_is_closed_by_default():
    assert not any(AvailableApis().model_dump().values())
    assert not ContextAccess().has_history_before


def test_empty_operations_mean_everything():
    assert ToolResource(tool_name="a").allows("call")
    assert not ToolResource(tool_name="a", operations=["detail"]).allows("call")
