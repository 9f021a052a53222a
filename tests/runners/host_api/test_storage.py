import base64

import pytest

from agents.models import PluginStorage
from tests.factories import WorkspaceFactory

PLACES = ["plugin", "workspace"]


def encoded(value):
    return base64.b64encode(value).decode()


@pytest.mark.parametrize("place", PLACES)
def test_values_are_kept_by_key(caller, place):
    for key, value in (("b", b"\x00\xff"), ("a", b"")):
        answer = caller(f"set_{place}_storage", key=key, value_base64=encoded(value))
        assert answer == {}
    caller(f"set_{place}_storage", key="b", value_base64=encoded(b"new"))
    assert caller(f"get_{place}_storage", key="b") == {"value_base64": encoded(b"new")}
    assert caller(f"get_{place}_storage", key="a") == {"value_base64": ""}
    assert caller(f"get_{place}_storage_keys") == {"keys": ["a", "b"]}
    assert caller(f"delete_{place}_storage", key="b") == {}
    assert caller(f"get_{place}_storage_keys") == {"keys": ["a"]}
    for action in ("get", "delete"):
        assert caller.refused(f"{action}_{place}_storage", key="b") == "not_found"


def test_plugins_share_a_workspace_storage_and_nothing_else(caller, caller_of):
    other, sibling = caller_of(plugin="evil/helper"), caller_of()
    for place in PLACES:
        caller(f"set_{place}_storage", key="k", value_base64=encoded(b"mine"))
    assert sibling("get_plugin_storage", key="k")["value_base64"] == encoded(b"mine")
    assert other.refused("get_plugin_storage", key="k") == "not_found"
    assert other("get_plugin_storage_keys") == {"keys": []}
    assert other("get_workspace_storage", key="k")["value_base64"] == encoded(b"mine")
    abroad = caller_of(place=WorkspaceFactory.create())
    for place in PLACES:
        assert abroad(f"get_{place}_storage_keys") == {"keys": []}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "given",
    [
        {"permissions": {}},
        {"plugin_storage": False, "workspace_storage": False},
        {"binding": {"plugin_storage": False, "workspace_storage": False}},
    ],
    ids=["manifest", "policy", "binding"],
)
def test_each_has_to_grant_it(caller_of, place, given):
    caller = caller_of(**given)
    value = {"value_base64": encoded(b"x")}
    for name in ("set", "get", "delete"):
        action = f"{name}_{place}_storage"
        assert caller.refused(action, key="k", **value) == "permission_denied"
    assert caller.refused(f"get_{place}_storage_keys") == "permission_denied"
    assert not PluginStorage.objects.exists()


@pytest.mark.parametrize(
    "data",
    [
        {"key": "k", "value_base64": "no base64!"},
        {"key": "k"},
        {"key": "", "value_base64": ""},
        {"key": "k" * 256, "value_base64": ""},
        {"value_base64": ""},
    ],
)
def test_wrong_requests_change_nothing(caller, data):
    assert caller.refused("set_plugin_storage", **data) == "invalid_request"
    assert not PluginStorage.objects.exists()


@pytest.fixture
def small(settings):
    limits = {"storage_value_bytes": 8, "storage_bytes": 20, "storage_keys": 3}
    settings.LANGBOT = {**settings.LANGBOT, "LIMITS": limits}


def test_both_sides_of_every_limit(caller, small):
    def fill(key, size):
        value = encoded(b"x" * size)
        return caller("set_plugin_storage", key=key, value_base64=value)

    def refused(key, size):
        value = encoded(b"x" * size)
        return caller.refused("set_plugin_storage", key=key, value_base64=value)

    fill("a", 8)
    assert refused("a", 9) == "too_large"
    assert refused("a", 900) == "too_large"
    fill("b", 8)
    assert refused("c", 5) == "too_large"
    fill("c", 4)
    assert refused("d", 0) == "too_large"  # a fourth key
    fill("c", 1)
    assert caller("get_plugin_storage_keys") == {"keys": ["a", "b", "c"]}


def test_a_repeated_frame_does_nothing_again(caller):
    first, second = encoded(b"first"), encoded(b"second")
    caller("set_plugin_storage", seq_id=900, key="k", value_base64=first)
    caller("set_plugin_storage", seq_id=901, key="k", value_base64=second)
    caller("set_plugin_storage", seq_id=900, key="k", value_base64=first)
    assert caller("get_plugin_storage", key="k") == {"value_base64": second}
    assert caller("delete_plugin_storage", seq_id=902, key="k") == {}
    assert caller("delete_plugin_storage", seq_id=902, key="k") == {}
