"""AG-57: which of a provider's words are the reasoning that people may see."""

import pytest

from agents.resources.openai_answers import reasoning_text

DETAILS = [
    {"type": "reasoning.text", "text": "a"},
    {"type": "reasoning.summary", "summary": "b"},
    {"type": "reasoning.summary", "text": "c", "summary": "less"},
    {"text": "d"},
    {"type": "reasoning.encrypted", "data": "x", "text": "secret"},
    {"type": "something.new", "text": "unknown"},
    "malformed",
]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"reasoning": "1", "reasoning_content": "2"}, "1"),
        ({"reasoning": "", "reasoning_content": "2"}, "2"),
        ({"reasoning": {"odd": 1}, "reasoning_content": "2"}, "2"),
        ({"reasoning_content": "2", "reasoning_details": DETAILS}, "2"),
        ({"reasoning": None, "reasoning_details": DETAILS}, "abcd"),
        ({"reasoning_details": {"type": "reasoning.text"}}, ""),
        ({"reasoning_details": [{"type": "reasoning.text", "text": 5}]}, ""),
        ({}, ""),
    ],
)
def test_the_first_that_says_something_is_shown(said, shown):
    assert reasoning_text(said) == shown
