import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.protocol.manifest import (
    InvalidComponent,
    ManifestError,
    RunnerId,
    RunnerManifest,
    parse_container,
    parse_runner_id,
)

FRAMES = Path(__file__).parents[2] / "data" / "frames"


def recorded(stem):
    for line in (FRAMES / f"{stem}.jsonl").read_text(encoding="utf-8").splitlines():
        frame = json.loads(line).get("frame", {})
        if frame.get("action") == "register_plugin":
            return frame["data"]["plugin_container"]
    raise AssertionError(stem)


def component(kind="Runner", **manifest):
    manifest = {
        "kind": kind,
        "metadata": {"name": "default"},
        "spec": {"usages": ["agent"]},
    } | manifest
    return {"manifest": {"owner": "builtin", "manifest": manifest}}


def container(*components, **metadata):
    metadata = {"author": "acme", "name": "bot", "version": "1.2"} | metadata
    manifest = {"kind": "Plugin", "metadata": metadata, "spec": {}}
    return {"manifest": {"manifest": manifest}, "components": list(components)}


def only(*components):
    (parsed,) = parse_container(container(*components)).components
    return parsed


def test_a_recorded_runner_is_read():
    plugin = parse_container(recorded("hitl-0.7.18"))
    assert plugin.plugin == "acme/probe-agent"
    assert [runner.id for runner in plugin.runners] == [
        "plugin:acme/probe-agent/default",
        "plugin:acme/probe-agent/probe",
    ]
    probe = plugin.runners[1]
    assert probe.kind == "Runner"
    assert probe.version == "0.1.0"
    assert probe.capabilities.steering
    assert not probe.capabilities.multimodal_input
    assert probe.permissions["models"] == ("invoke", "stream", "rerank", "count_tokens")
    assert probe.config_schema[0]["default"] == "x"
    assert probe.usages == ("agent",)
    assert probe.event_patterns == ("*",)


def test_a_recorded_agent_runner_is_read_with_the_version_of_its_spec():
    (runner,) = parse_container(recorded("agentrunner-dialect-0.5.3")).runners
    assert runner.id == "plugin:langbot/n8n-agent/default"
    assert runner.kind == "AgentRunner"
    assert runner.version == "0.1.0"
    assert runner.label["zh_Hans"] == "n8n"


def test_a_missing_label_is_the_name():
    assert only(component()).label == {"en_US": "default"}


def test_old_manifests_have_their_parts_at_the_top():
    config = [{"name": "url", "type": "string"}]
    runner = only(
        component(
            kind="AgentRunner",
            spec={},
            config=config,
            capabilities={"streaming": True},
            permissions={"artifacts": ["read"], "files": ["config"]},
        )
    )
    assert isinstance(runner, RunnerManifest)
    field_id = "plugin:acme/bot/default.url"
    assert runner.config_schema == [{**config[0], "id": field_id}]
    assert "id" not in runner.raw["config"][0]
    assert runner.capabilities.streaming
    assert runner.permissions == {"artifacts": ("read",), "files": ("config",)}


def test_a_field_has_an_id_and_keeps_the_one_it_was_given():
    given = ["own-id", "", "  ", None, 7]
    config = [{"name": f"f{n}", "id": one} for n, one in enumerate(given)]
    runner = only(component(spec={"config": [*config, {"name": "f5"}]}))
    assert isinstance(runner, RunnerManifest)
    others = [f"plugin:acme/bot/default.f{number}" for number in range(1, 6)]
    assert [item["id"] for item in runner.config_schema] == ["own-id", *others]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metadata": {}}, "metadata.name"),
        ({"metadata": {"name": "a/b"}}, "metadata.name"),
        ({"metadata": "default"}, "metadata"),
        ({"id": "plugin:acme/bot/other"}, "id is"),
        ({"spec": {"capabilities": {"flying": True}}}, "capabilities.flying"),
        ({"spec": {"capabilities": {"streaming": "yes"}}}, "capabilities.streaming"),
        ({"spec": {"permissions": {"money": ["spend"]}}}, "unknown permission money"),
        ({"spec": {"permissions": {"models": ["train"]}}}, "models: train"),
        ({"spec": {"permissions": {"artifacts": ["read"]}}}, "artifacts"),
        ({"spec": {"permissions": {"models": "invoke"}}}, "list of strings"),
        ({"spec": {"config": {"type": "object"}}}, "config must be a list"),
        ({"spec": {"config": [{"type": "string"}]}}, "needs a name"),
        ({"spec": {"config": [{"name": "a"}, {"name": "a"}]}}, "needs a name"),
        ({"spec": []}, "spec must be an object"),
    ],
)
def test_a_broken_component_is_listed_with_its_reason(changes, reason):
    good = component(metadata={"name": "good"})
    plugin = parse_container(container(component(**changes), good))
    assert [runner.name for runner in plugin.runners] == ["good"]
    (invalid,) = plugin.invalid
    assert reason in invalid.reason


def test_a_second_component_of_the_same_name_is_refused():
    first, second, third = parse_container(container(*[component()] * 3)).components
    assert isinstance(first, RunnerManifest)
    assert isinstance(second, InvalidComponent)
    assert isinstance(third, InvalidComponent)


def test_other_kinds_are_no_runners_but_told():
    plugin = parse_container(container(component(kind="Tool"), component(kind="Gizmo")))
    assert plugin.components == ()
    assert plugin.other_kinds == ("Gizmo", "Tool")


@pytest.mark.parametrize("bad", [None, [], {}, {"manifest": {}}, {"manifest": []}])
def test_a_plugin_without_a_manifest_is_refused(bad):
    with pytest.raises(ManifestError):
        parse_container(bad)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a:b", "x" * 101, 5, None, "a\n"])
def test_a_plugin_without_a_usable_name_is_refused(name):
    with pytest.raises(ManifestError):
        parse_container(container(component(), name=name))


def test_runner_ids_have_three_parts():
    assert parse_runner_id("plugin:a/b/c") == RunnerId("a", "b", "c")
    assert str(RunnerId("a", "b", "c")) == "plugin:a/b/c"


@pytest.mark.parametrize(
    "text", ["", "a/b/c", "plugin:a/b", "plugin:a//c", "mcp:a/b/c"]
)
def test_other_runner_ids_are_refused(text):
    with pytest.raises(ManifestError):
        parse_runner_id(text)


def _paths(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items if isinstance(value, dict | list) else ():
        if isinstance(item, dict | list):
            yield from _paths(item, (*path, key))
        else:
            yield (*path, key)


CONTAINER = recorded("hitl-0.7.18")
PATHS = [path for path in _paths(CONTAINER) if path]


@given(
    st.sampled_from(PATHS),
    st.sampled_from([None, 0, "", "x", [], {}, [None], [{}], {"x": 1}, True]),
)
def test_any_damage_is_a_reason_or_harmless(path, value):
    damaged = copy.deepcopy(CONTAINER)
    target = damaged
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    try:
        plugin = parse_container(damaged)
    except ManifestError as error:
        assert error.message
    else:
        assert all(isinstance(item.reason, str) for item in plugin.invalid)
