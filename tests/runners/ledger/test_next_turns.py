"""Who is answered next, as if every stop took no time, against that very model."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.ledger.next_turns import is_rolled_back, next_turn

MODES = ["enqueue", "steering", "interrupt", "rollback"]


def message(key, mode="enqueue", agent=1, kind="message.received", meets=None):
    return SimpleNamespace(
        pk=key,
        mode=mode,
        agent_id=agent,
        dry_run=False,
        event=SimpleNamespace(type=kind),
        meets=meets,
    )


def keys(messages):
    return [one.pk for one in messages]


def made_of(*modes):
    turn = next_turn([message(key, mode) for key, mode in enumerate(modes)])
    return turn.opener.pk, keys(turn.before), keys(turn.forgotten)


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        (["enqueue", "enqueue"], (0, [], [])),
        (["steering", "enqueue"], (0, [], [])),
        (["interrupt"], (0, [], [])),
        (["enqueue", "interrupt", "enqueue"], (1, [0], [])),
        (["interrupt", "interrupt"], (1, [0], [])),
        (["rollback", "rollback"], (1, [], [0])),
        (["enqueue", "rollback"], (1, [0], [])),
        (["enqueue", "interrupt", "enqueue", "rollback"], (3, [2], [0, 1])),
    ],
)
def test_what_a_turn_is_made_of(modes, expected):
    assert made_of(*modes) == expected


def instantly(modes):
    """Play the messages one after the other, with stops that take no time."""
    live: list[int] = []
    waiting: list[int] = []
    forgotten: list[int] = []
    for key, mode in enumerate(modes):
        if mode == "interrupt":
            live, waiting = [*live, *waiting, key], []
        elif mode == "rollback":
            forgotten += live
            live, waiting = [*waiting, key], []
        else:
            waiting.append(key)
    return (live or waiting[:1]), forgotten


@given(st.lists(st.sampled_from(MODES), min_size=1, max_size=8))
def test_it_is_as_if_stops_took_no_time(modes):
    opener, before, forgotten = made_of(*modes)
    assert ([*before, opener], forgotten) == instantly(modes)


def test_another_agents_message_is_answered_before():
    turn = next_turn([message(1, agent=1), message(2, "interrupt", agent=2)])
    assert (turn.opener.pk, turn.before) == (1, [])


def test_an_event_that_nobody_said_begins_its_own_turn():
    first = message(1, kind="member.joined")
    turn = next_turn([first, message(2, "interrupt")])
    assert (turn.opener.pk, turn.before) == (1, [])


def test_only_the_run_that_a_message_met_is_rolled_back():
    waiting = [message(1, "enqueue", meets=5), message(2, "rollback", meets=7)]
    assert is_rolled_back(7, waiting)
    assert not is_rolled_back(5, waiting)
