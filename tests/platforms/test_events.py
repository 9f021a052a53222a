import time

import pytest

from langbot.lib.conf import conf
from langbot.lib.ids import uuid7
from langbot.lib.redis import quick_client
from langbot.lib.text import storable
from platforms import throttle
from platforms.adapters import registry
from platforms.adapters.params import safe_params
from platforms.adapters.web.adapter import WebAdapter
from platforms.events import has_id, is_event_name, scoped_event_id
from runners.engine import sweeps


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("message.received", True),
        ("group.member_joined", True),
        ("a.b.c", True),
        ("message", False),
        ("Message.Received", False),
        ("message.*", False),
        ("message.received\n", False),
        (f"a.{'b' * 100}", False),
    ],
)
def test_event_names(name, expected):
    assert is_event_name(name) is expected


def test_scoped_ids_depend_on_every_part():
    ids = {
        scoped_event_id("a", "b", "c"),
        scoped_event_id("a", "bc", ""),
        scoped_event_id("ab", "", "c"),
        scoped_event_id("a", "b", "d"),
    }
    assert len(ids) == 4
    assert scoped_event_id("a", "b") == scoped_event_id("a", "b")
    assert all(one.startswith("host:") and len(one) == 37 for one in ids)


def test_minus_one_is_no_id():
    assert has_id("7")
    assert not has_id("-1")
    assert not has_id("")


@pytest.mark.parametrize(
    "name", ["_x", "my_secret", "TOKEN", "apikey", "Password", "credential_id"]
)
def test_params_never_carry_secret_names(name):
    assert safe_params({name: "x", "kept": 1}) == {"kept": 1}


def test_params_are_json():
    values = {"set": {1}, "nan": float("nan"), "object": object(), "list": [1, "a"]}
    assert safe_params(values) == {"list": [1, "a"]}


def test_registry_is_closed_after_start_up():
    with pytest.raises(registry.RegistryClosedError):
        registry.register(WebAdapter())


def test_both_platforms_are_known():
    assert {"web", "webhook"} <= {kind for kind, _ in registry.choices()}
    with pytest.raises(registry.UnknownAdapterError):
        registry.get("telepathy")


def test_outbox_is_swept_every_two_seconds():
    found = [one for one in sweeps.registered() if one.name == "deliveries"]
    assert [one.seconds for one in found] == [2.0]


def test_storable_keeps_what_is_fine():
    value = {"a": [1, 2.5, None, True, "日本 😀"]}
    assert storable(value) == value


def test_bucket_holds_its_tokens_and_refills():
    name = str(uuid7())
    waits = [throttle.seconds_to_wait(name, 30, 3600) for _ in range(31)]
    assert waits[:30] == [0.0] * 30
    assert 60 < waits[30] <= 120
    fast = str(uuid7())
    assert throttle.seconds_to_wait(fast, 1, 0.2) == 0
    time.sleep(0.25)
    assert throttle.seconds_to_wait(fast, 1, 0.2) == 0


def test_bucket_leaves_no_key_without_a_life():
    name = str(uuid7())
    throttle.seconds_to_wait(name, 30, 60)
    key = f"{conf().redis_prefix}rate:{name}"
    assert 0 < quick_client().pttl(key) <= 2100
