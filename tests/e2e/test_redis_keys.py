"""Redis is transport: every key of ours ends by itself."""

from tests.support.host_rows import keys_without_a_life


def test_no_key_lives_for_ever(host):
    for number in range(5):
        assert host.ask(f"message {number}")["status"] == "completed"
    assert host.ask("hello", "assistant")["status"] == "completed"
    assert host.inside(keys_without_a_life) == []


def test_an_ended_run_leaves_no_inbound_frames(host):
    name = f"in:{host.ask('hello')['id']}"
    host.wait_for(
        lambda: not host.inside(keys_without_a_life, only=name), "no frames", 5
    )
