import time

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.resources.tokens import PER_MEDIA, count_text, count_tokens


@given(st.text(), st.text(min_size=1))
def test_more_text_is_never_fewer_tokens(text, more):
    assert count_text(text + more) >= count_text(text)
    assert count_text(more + text) >= count_text(text)
    assert count_text((text + more) * 8) > count_text(text * 8)


def test_known_sizes():
    assert count_text("") == 0
    assert count_text("a" * 400) == 100
    assert count_text("中" * 100) == 100
    assert count_text("日本語かな한국어") == 8
    assert 40 <= count_text("я" * 100) <= 80


def test_each_part_of_a_request_counts():
    plain = [{"role": "user", "content": "Hello", "name": None, "tool_calls": None}]
    base = count_tokens(plain)
    assert count_tokens([*plain, *plain]) > base
    image = {"type": "image_base64", "image_base64": "A" * 100_000}
    parts = [{"role": "user", "content": [{"type": "text", "text": "Hello"}, image]}]
    assert count_tokens(parts) == base + PER_MEDIA
    call = {"id": "a", "function": {"name": "weather", "arguments": "{}" * 50}}
    assert count_tokens([{**plain[0], "tool_calls": [call]}]) > base + 25
    func = {"name": "weather", "description": "d" * 400, "parameters": {"a": "b" * 400}}
    assert count_tokens(plain, [func]) > base + 200


@settings(max_examples=40, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_odd_values_are_counted_not_refused(value):
    message = {"role": "user", "content": value, "tool_calls": value, "name": value}
    assert count_tokens([message], [{"name": value, "parameters": value}]) > 0


def test_lone_surrogates_are_counted():
    assert count_text("\ud800") > 0


def test_a_long_history_is_counted_quickly():
    history = [{"role": "user", "content": "混合 mixed text. " * 100}] * 200
    started = time.perf_counter()
    for _ in range(32):
        count_tokens(history)
    assert time.perf_counter() - started < 1.0
