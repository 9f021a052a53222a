import pytest

from agents.resources.llm import LlmRequest, ModelSpec, complete, stream
from agents.resources.tokens import count_text


@pytest.fixture
def demo():
    return ModelSpec(
        id="m-1",
        name="demo",
        kind="llm",
        provider_id="p-1",
        provider_name="Demo",
        provider_kind="demo",
    )


def said(*contents):
    return LlmRequest(messages=[{"role": "user", "content": c} for c in contents])


async def test_reply_says_what_it_is_and_repeats_the_last_message(demo):
    answer = await complete(demo, said("first", "How are you?"))
    text = answer["message"]["content"]
    assert "offline demo model" in text
    assert text.endswith("How are you?")
    assert "first" not in text
    assert answer["usage"]["completion_tokens"] == count_text(text)
    assert answer["usage"]["estimated"] is True


async def test_streamed_reply_is_the_same_in_small_increments(demo):
    request = said("你好")
    items = [item async for item in stream(demo, request)]
    texts = [item["chunk"]["content"] for item in items[:-1]]
    answer = await complete(demo, request)
    assert "".join(texts) == answer["message"]["content"]
    assert len(texts) > 5
    assert max(map(len, texts)) <= 8
    finals = [item["chunk"]["is_final"] for item in items[:-1]]
    assert finals == [False] * (len(texts) - 1) + [True]
    assert items[-1] == {"usage": answer["usage"]}


async def test_long_messages_are_shortened_and_parts_are_read(demo):
    long = "word " * 1000
    content = [{"type": "image_url", "text": None}, {"type": "text", "text": long}]
    text = (await complete(demo, said(content)))["message"]["content"]
    assert len(text) < 800
    assert "4599" in text


async def test_a_message_without_text_is_answered_too(demo):
    text = (await complete(demo, said(None)))["message"]["content"]
    assert "offline demo model" in text
    assert (await complete(demo, LlmRequest(messages=[])))["message"]["content"] == text
