"""What is kept of a plugin's output: no secrets, and never too much."""

import pytest

from agents.packages import guard_output
from agents.packages.guard_output import OutputGuard, Tail, redact_text


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("key is abc123", "key is [redacted]"),
        ("lbp_AbCdEfGhIjKl connects", "[redacted] connects"),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer [redacted]"),
        ("api_key=hunter22 ok", "api_key=[redacted] ok"),
        ('{"password": "hunter22"}', '{"password": "[redacted]"}'),
        (
            "from https://ada:hunter22@pypi.test/",
            "from https://ada:[redacted]@pypi.test/",
        ),
        ("sk-abcdefghijklmnopqrst", "[redacted]"),
        ("an ordinary line", "an ordinary line"),
    ],
)
def test_secrets_are_taken_out(line, kept):
    assert redact_text(line, ["abc123"]) == kept


def guard(**options):
    lines: list[str] = []
    return lines, OutputGuard(lines.append, **options)


def test_lines_are_put_together_and_bad_bytes_replaced():
    lines, output = guard()
    output.feed(b"one\ntw")
    output.feed(b"o\n\n\xff\n")
    output.feed(b"rest")
    output.feed(b"")
    assert lines == ["one", "two", "�", "rest"]


def test_a_secret_that_comes_in_two_parts_is_taken_out():
    lines, output = guard(secrets=["topsecretvalue"])
    output.feed(b"it is topsec")
    output.feed(b"retvalue\n")
    assert lines == ["it is [redacted]"]


def test_an_endless_line_is_cut():
    lines, output = guard()
    for _ in range(100):
        output.feed(b"x" * 1000)
    output.feed(b"end\nnext\n")
    assert [len(line) < guard_output.LINE_BYTES + 1010 for line in lines] == [True] * 2
    assert lines[1] == "next"


def test_too_much_output_is_dropped_and_counted(monkeypatch):
    now = 0.0
    monkeypatch.setattr("langbot.lib.buckets.time.monotonic", lambda: now)
    lines, output = guard()
    line = b"y" * 999 + b"\n"
    for _ in range(3000):
        output.feed(line)
    room = guard_output.BURST_BYTES // 999
    assert len(lines) == room
    now = 1.0
    output.feed(b"later\n")
    assert lines[-2:] == [
        f"[{3000 - room} lines were dropped: too much output]",
        "later",
    ]


def test_a_tail_keeps_the_last_lines():
    tail = Tail(limit=20)
    for number in range(10):
        tail.add(f"line {number}")
    assert tail.has_changed
    assert tail.text() == "line 8\nline 9"
    assert not tail.has_changed
