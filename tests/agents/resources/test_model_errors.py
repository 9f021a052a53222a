import asyncio
import logging
import traceback
from math import inf

import pytest

from agents.resources.llm import LlmRequest, ModelError, complete, stream
from tests.agents.resources.chat_server import chat_server, completion
from tests.agents.resources.conftest import KEY


async def failure(spec, request, ask=complete):
    with pytest.raises(ModelError) as caught:
        if ask is complete:
            await complete(spec, request)
        else:
            async for _ in stream(spec, request):
                pass
    return caught.value


@pytest.mark.parametrize("ask", [complete, stream])
@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (307, "model.bad_request", False),
        (400, "model.bad_request", False),
        (401, "model.unauthorized", False),
        (403, "model.unauthorized", False),
        (404, "model.not_found", False),
        (422, "model.bad_request", False),
        (429, "model.rate_limited", True),
        (500, "model.unavailable", True),
        (503, "model.unavailable", True),
        (504, "model.timeout", True),
    ],
)
async def test_statuses_become_codes(make_spec, hello, ask, status, code, retryable):
    body = {"error": {"message": "no luck today", "code": "x"}}
    async with chat_server(lambda e: e.send(status, body)) as server:
        error = await failure(make_spec(server.url), hello, ask)
    assert (error.code, error.retryable) == (code, retryable)
    assert error.message.startswith("Local ")
    assert error.details == {"status": status}
    if code != "model.unauthorized":
        assert "no luck today" in error.message


@pytest.mark.parametrize("ask", [complete, stream])
async def test_what_json_cannot_hold_is_not_sent(make_spec, hello, ask):
    request = LlmRequest(messages=hello.messages, extra_args={"top_p": inf})
    async with chat_server(lambda e: e.send(200, completion())) as server:
        error = await failure(make_spec(server.url), request, ask)
    assert (error.code, error.retryable) == ("model.bad_request", False)
    assert server.exchanges == []


async def test_an_empty_account_is_not_worth_a_retry(make_spec, hello):
    body = {"error": {"message": "pay first", "code": "insufficient_quota"}}
    async with chat_server(lambda e: e.send(429, body)) as server:
        error = await failure(make_spec(server.url), hello)
    assert (error.code, error.retryable) == ("model.quota_exceeded", False)


async def test_a_blip_is_asked_again_once(make_spec, hello):
    async def script(exchange):
        if len(server.exchanges) == 1:
            await exchange.send(503, {"error": {"message": "restarting"}})
        else:
            await exchange.send(200, completion(content="Hello"))

    async with chat_server(script) as server:
        answer = await complete(make_spec(server.url), hello)
    assert answer["message"]["content"] == "Hello"
    assert len(server.exchanges) == 2


@pytest.mark.parametrize("ask", [complete, stream])
async def test_the_key_is_in_no_error_log_or_repr(make_spec, hello, caplog, ask):
    caplog.set_level(logging.DEBUG)
    body = {"error": {"message": f"bad key {KEY} for Bearer {KEY}", "code": KEY}}
    for status in (400, 401, 404, 429, 500):

        async def script(exchange, status=status):
            await exchange.send(status, body)

        async with chat_server(script) as server:
            spec = make_spec(server.url)
            error = await failure(spec, hello, ask)
        assert server.exchanges[0].headers["authorization"] == f"Bearer {KEY}"
        shown = "".join(traceback.format_exception(error))
        everything = [shown, repr(error), str(error.as_dict()), repr(spec), caplog.text]
        assert all(KEY not in text for text in everything)


async def test_a_key_that_no_header_can_carry_is_named_not_shown(make_spec, hello):
    for key in ("sk-secret\n", "sk-sécret", " sk-secret", "sk-\x00secret"):
        error = await failure(make_spec("http://127.0.0.1:1/v1", api_key=key), hello)
        assert error.code == "model.unauthorized"
        assert key not in str(error)


async def test_an_unreadable_stored_key_says_so(make_spec, hello):
    error = await failure(make_spec("http://127.0.0.1:1/v1", api_key=None), hello)
    assert error.code == "model.unauthorized"
    assert "enter it again" in error.message


async def test_nobody_listening_is_unavailable(make_spec, hello):
    async with chat_server(lambda e: e.send(200, {})) as server:
        url = server.url
    error = await failure(make_spec(url), hello)
    assert (error.code, error.retryable) == ("model.unavailable", True)


@pytest.mark.parametrize("ask", [complete, stream])
async def test_private_addresses_need_the_allow_list(make_spec, hello, settings, ask):
    settings.LANGBOT = {**settings.LANGBOT, "OUTBOUND_ALLOW": []}
    async with chat_server(lambda e: e.send(200, completion(content="x"))) as server:
        url = server.url.replace("http://", "http://name:hidden-password@")
        error = await failure(make_spec(url), hello, ask)
    assert server.exchanges == []
    assert error.code == "model.address_refused"
    assert error.retryable is False
    assert "LANGBOT_OUTBOUND_ALLOW" in error.message
    assert "127.0.0.1" in error.message
    assert "hidden-password" not in error.message


@pytest.mark.parametrize(
    "base_url",
    ["http://[half", "ftp://a.example/v1", "nonsense", "http://a.example:99999/"],
)
async def test_an_unusable_base_url_is_a_model_error(make_spec, hello, base_url):
    error = await failure(make_spec(base_url), hello)
    assert error.code == "model.bad_request"
    assert error.message == "the base URL of Local is not valid"


@pytest.mark.parametrize(
    "data", ["<html>Welcome</html>", {}, {"choices": []}, [], {"choices": "none"}]
)
async def test_something_else_than_a_completion(make_spec, hello, data):
    async with chat_server(lambda e: e.send(200, data)) as server:
        error = await failure(make_spec(server.url), hello)
    assert error.code == "model.bad_response"
    assert "base URL" in error.message


async def test_broken_json_in_a_stream(make_spec, hello):
    async with chat_server(lambda e: e.stream("{not json")) as server:
        error = await failure(make_spec(server.url), hello, stream)
    assert error.code == "model.bad_response"


async def test_silence_is_a_timeout(make_spec):
    async def silent(exchange):
        assert await exchange.peer_left()

    request = LlmRequest(messages=[{"role": "user", "content": "?"}], timeout=0.2)
    async with chat_server(silent) as server:
        for ask in (complete, stream):
            server.finished.clear()
            error = await failure(make_spec(server.url), request, ask)
            assert (error.code, error.retryable) == ("model.timeout", True)
            await asyncio.wait_for(server.finished.wait(), 5)
            assert server.failure is None


async def test_the_provider_bounds_a_completion_too(make_spec):
    async def silent(exchange):
        assert await exchange.peer_left()

    request = LlmRequest(messages=[{"role": "user", "content": "?"}], timeout=60)
    async with chat_server(silent) as server:
        error = await failure(make_spec(server.url, timeout_seconds=1), request)
    assert error.message == "Local did not answer within 1 s"


@pytest.mark.parametrize(
    "message", [{"role": 5}, {"role": "user", "content": {"a": 1}}, {"tool_calls": "x"}]
)
async def test_messages_that_are_not_wire_messages(make_spec, message):
    request = LlmRequest(messages=[{"role": "user", "content": "ok"}, message])
    error = await failure(make_spec("http://127.0.0.1:1/v1"), request)
    assert error.code == "model.bad_request"
    assert error.message.startswith("messages.1.")


async def test_other_kinds_of_model_do_not_chat(make_spec, hello):
    spec = make_spec("http://127.0.0.1:1/v1", kind="rerank")
    assert (await failure(spec, hello)).code == "model.bad_request"
    assert (await failure(spec, hello, stream)).code == "model.bad_request"
