"""A text of many pieces reads like one."""

import pytest

from runners.engine.growing_text import GrowingText


def grown(*pieces):
    text = GrowingText(pieces[0] if pieces else "")
    for piece in pieces[1:]:
        text.add(piece)
    return text


@pytest.mark.parametrize("pieces", [(), ("a",), ("", "b"), ("a", "bc", "", "好")])
def test_it_reads_like_its_pieces(pieces):
    text, whole = grown(*pieces), "".join(pieces)
    assert (str(text), len(text), bool(text)) == (whole, len(whole), bool(whole))


def test_it_grows_after_it_was_read():
    text = grown("a", "b")
    assert str(text) == "ab"
    text.add("c")
    assert str(text) == "abc"


@pytest.mark.parametrize(
    ("content", "new"),
    [
        ("Hello, you", " you"),  # all of the text so far, and more
        ("Hello,", ""),
        ("Hell", "Hell"),  # shorter: cannot be all of it
        ("Other, longer", "Other, longer"),
    ],
)
def test_content_is_all_so_far_or_what_is_added(content, new):
    assert grown("Hel", "lo,").added_by(content) == new


def test_everything_is_new_at_first():
    assert grown().added_by("Hello") == "Hello"
