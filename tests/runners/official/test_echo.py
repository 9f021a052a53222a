import pytest

from runners.official.echo import EchoRunner
from runners.protocol.results import MessageDelta, delta_text, parse_result

LONG = " ".join(f"word{number}" for number in range(1000))


@pytest.fixture
async def side(connect_plugin):
    return await connect_plugin(EchoRunner())


async def answer(side, **parts):
    found = await side.results(await side.start(**parts))
    parsed = [parse_result(item) for item in found]
    text = ""
    for result in parsed:
        if isinstance(result.data, MessageDelta):
            text += delta_text(result.data.chunk, text)
    return [result.type for result in parsed], text, found


def test_its_id_is_the_one_of_the_contract():
    assert EchoRunner.runner_id() == "plugin:langbot/echo/default"


@pytest.mark.parametrize(
    "text", ["hello", "hello  two  spaces", "你好\n世界", LONG, "😀"]
)
async def test_it_says_back_what_it_heard(side, text):
    types, streamed, found = await answer(side, input={"text": text})
    assert streamed == f"You said: {text}"
    assert found[-2]["data"]["message"]["content"] == streamed
    assert types[-2:] == ["message.completed", "run.completed"]
    assert 1 <= types.count("message.delta") <= 64


async def test_the_prefix_comes_first(side):
    _, streamed, _ = await answer(side, config={"prefix": "> "})
    assert streamed == "> You said: hello host"


async def test_without_streaming_there_is_one_message(side):
    delivery = {"surface": "x", "supports_streaming": False}
    types, _, found = await answer(side, delivery=delivery)
    assert types == ["message.completed", "run.completed"]
    assert found[0]["data"]["message"]["content"] == "You said: hello host"


async def test_an_event_without_words_is_named(side):
    _, streamed, _ = await answer(side, input={})
    assert streamed == "You said: message.received"


async def test_an_answer_is_streamed_word_by_word(side):
    types, _, _ = await answer(side, input={"text": "1 2 3 4 5 6 7 8 9 10"})
    assert types.count("message.delta") == len(["You", "said:", *range(10)])
