from typing import Any

import pytest

from runners.openai.errors import CallError
from runners.openai.requests import read_chat, read_response

HELLO = {"role": "user", "content": "hello"}
PNG = "data:image/png;base64,iVBORw0KGgo="


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [HELLO], **more}


def test_a_chat_is_read():
    call = read_chat(
        chat(
            messages=[{"role": "developer", "content": "Be kind."}, HELLO],
            stream=True,
            stream_options={"include_usage": True},
            temperature=0.3,
            user="ada",
            metadata={"ticket": "7"},
        )
    )
    assert [(said.role, said.text) for said in call.messages] == [
        ("system", "Be kind."),
        ("user", "hello"),
    ]
    assert (call.model, call.stream, call.include_usage) == ("m", True, True)
    assert call.metadata == {"ticket": "7", "user": "ada"}


def test_parts_become_elements():
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
        {"type": "file", "file": {"file_data": PNG, "filename": "a.png"}},
    ]
    call = read_chat(chat(messages=[{"role": "user", "content": parts}]))
    elements = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "file_base64", "file_base64": PNG, "file_name": "a.png"},
    ]
    assert call.messages[0].contents == elements
    parts = [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": PNG},
        {"type": "input_file", "file_data": PNG, "filename": "a.png"},
    ]
    response = read_response(
        {"model": "m", "input": [{"role": "user", "content": parts}]}
    )
    assert response.messages[0].contents == elements


def test_a_response_is_read():
    said = {"type": "output_text", "text": "hi", "annotations": []}
    items = [
        HELLO,
        {"type": "reasoning", "id": "r", "summary": []},
        {"type": "message", "id": "x", "role": "assistant", "content": [said]},
        HELLO,
    ]
    call = read_response({"model": "m", "input": items, "instructions": "Be kind."})
    assert [(one.role, one.text) for one in call.messages] == [
        ("system", "Be kind."),
        ("user", "hello"),
        ("assistant", "hi"),
        ("user", "hello"),
    ]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "nobody", "content": ""}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages"),
        ({"messages": [HELLO] * 2001}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"functions": [{}]}, "tools"),
        ({"logprobs": True}, "logprobs"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
    ],
)
def test_what_an_agent_cannot_do_is_named(more, param):
    with pytest.raises(CallError) as raised:
        read_chat(chat(**more))
    assert raised.value.status == 400
    assert raised.value.param == param


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [{"type": "function_call", "name": "x"}]}, "input.0.role"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "c"}, "conversation"),
        ({"background": True}, "background"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format"),
    ],
)
def test_what_a_response_cannot_be_is_named(more, param):
    with pytest.raises(CallError) as raised:
        read_response({"model": "m", "input": "hello", **more})
    assert (raised.value.status, raised.value.param) == (400, param)


@pytest.mark.parametrize("body", [None, [], "x", 7])
def test_a_body_that_is_no_object_is_refused(body):
    for read in (read_chat, read_response):
        with pytest.raises(CallError):
            read(body)
