from agents.resources.llm import LlmRequest, complete
from tests.agents.resources.chat_server import chat_server, completion
from tests.agents.resources.conftest import KEY

WEATHER = {
    "name": "weather",
    "human_desc": "for people",
    "description": "Tells the weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


async def test_answer_and_usage_have_wire_shapes(make_spec, hello):
    async with chat_server(
        lambda e: e.send(200, completion(content="Hello"))
    ) as server:
        answer = await complete(make_spec(server.url), hello)
    assert answer == {
        "message": {
            "role": "assistant",
            "name": None,
            "content": "Hello",
            "tool_calls": None,
            "tool_call_id": None,
            "resp_message_id": "cmpl-1",
            "provider_specific_fields": None,
        },
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }
    sent = server.exchanges[0]
    assert sent.target == "/v1/chat/completions"
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.body == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Hi"}],
    }


async def test_tools_go_out_and_tool_calls_come_back(make_spec):
    call = {
        "id": "call_9",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city":"Oslo"}'},
        "extra_content": {"signature": "abc"},
    }
    request = LlmRequest(
        messages=[
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_8",
                        "type": "function",
                        "function": {"name": "weather", "arguments": "{}"},
                        "provider_specific_fields": {
                            "extra_content": {"signature": "x"}
                        },
                    }
                ],
            },
            {"role": "tool", "content": "rain", "tool_call_id": "call_8"},
        ],
        funcs=[WEATHER],
    )
    script = completion(content=None, tool_calls=[call])
    async with chat_server(lambda e: e.send(200, script)) as server:
        answer = await complete(make_spec(server.url), request)
    assert answer["message"]["content"] is None
    assert answer["message"]["tool_calls"] == [
        {
            "id": "call_9",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city":"Oslo"}'},
            "provider_specific_fields": {"extra_content": {"signature": "abc"}},
        }
    ]
    body = server.exchanges[0].body
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Tells the weather",
                "parameters": WEATHER["parameters"],
            },
        }
    ]
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_8",
                    "type": "function",
                    "function": {"name": "weather", "arguments": "{}"},
                    "extra_content": {"signature": "x"},
                }
            ],
        },
        {"role": "tool", "content": "rain", "tool_call_id": "call_8"},
    ]


async def test_extra_args_tune_but_never_change_the_model(make_spec):
    request = LlmRequest(
        messages=[{"role": "user", "content": "Hi"}],
        extra_args={"temperature": 0, "model": "expensive", "stream": True, "n": 9},
    )
    async with chat_server(lambda e: e.send(200, completion(content="."))) as server:
        spec = make_spec(server.url, extra_args={"temperature": 1, "top_k": 5})
        await complete(spec, request)
    body = server.exchanges[0].body
    assert (body["model"], body["temperature"], body["top_k"]) == ("tiny", 0, 5)
    assert "stream" not in body
    assert "n" not in body


async def test_without_a_key_no_authorization_is_sent(make_spec, hello, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-operator")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-of-the-operator")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-operator")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-the-operator")
    async with chat_server(lambda e: e.send(200, completion(content="."))) as server:
        await complete(make_spec(server.url, api_key=""), hello)
    headers = server.exchanges[0].headers
    assert "authorization" not in headers
    assert "of-the-operator" not in str(headers)


async def test_missing_usage_is_estimated_and_marked(make_spec, hello):
    script = {"choices": completion(content="abcdefgh")["choices"]}
    async with chat_server(lambda e: e.send(200, script)) as server:
        answer = await complete(make_spec(server.url), hello)
    usage = answer["usage"]
    assert usage["estimated"] is True
    assert usage["completion_tokens"] == 2
    assert usage["prompt_tokens"] > 0
    total = usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["total_tokens"] == total


async def test_thinking_is_removed_or_kept_apart(make_spec):
    script = completion(content="<think>hm</think>\n\nYes", reasoning_content="because")
    messages = [{"role": "user", "content": "Hi"}]
    async with chat_server(lambda e: e.send(200, script)) as server:
        spec = make_spec(server.url)
        removed = await complete(spec, LlmRequest(messages=messages, remove_think=True))
        kept = await complete(spec, LlmRequest(messages=messages))
    assert removed["message"]["content"] == "Yes"
    assert removed["message"]["provider_specific_fields"] is None
    assert kept["message"]["content"] == "<think>hm</think>\n\nYes"
    fields = kept["message"]["provider_specific_fields"]
    assert fields == {"reasoning_content": "because"}


async def test_images_and_files_become_parts(make_spec):
    content = [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "image_base64", "image_base64": "iVBORw0KGgoAAA", "text": None},
        {"type": "file_base64", "file_base64": "QUJD", "file_name": "a.pdf"},
        {"type": "file_url", "file_url": "https://example.org/b", "file_name": "b"},
    ]
    request = LlmRequest(messages=[{"role": "user", "content": content}])
    async with chat_server(lambda e: e.send(200, completion(content="."))) as server:
        await complete(make_spec(server.url), request)
    parts = server.exchanges[0].body["messages"][0]["content"]
    assert parts == [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {
            "type": "image_url",
            "image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAA"},
        },
        {
            "type": "file",
            "file": {
                "filename": "a.pdf",
                "file_data": "data:application/octet-stream;base64,QUJD",
            },
        },
        {"type": "text", "text": "[b](https://example.org/b)"},
    ]
