"""OpenAI's own clients, Python and JavaScript, on our host."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import openai
import pytest

from tests.support.host_rows import set_agent
from tests.support.npm import npm_package

SCRIPT = Path(__file__).with_name("openai_client.mjs")
JS_VERSION = "7.57.0"
INSTALL_SECONDS = 240
HISTORY = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "My name is Ada."},
    {"role": "assistant", "content": "Hello Ada."},
]
HELLO = {"role": "user", "content": "hello"}
LOCAL_AGENT = "plugin:langbot/local-agent/default"


@pytest.fixture
def client(host):
    return openai.OpenAI(
        base_url=f"{host.url}/v1",
        api_key=host.secrets["api_token"],
        max_retries=0,
        timeout=60,
    )


def test_agents_are_models(client):
    names = [model.id for model in client.models.list()]
    assert {"assistant", "echo"} <= set(names)
    model = client.models.retrieve("echo")
    assert (model.id, model.object) == ("echo", "model")
    assert model.created > 1_700_000_000


def test_a_completion_comes_whole(client, host):
    answer = client.chat.completions.create(model="echo", messages=[*HISTORY, HELLO])
    (choice,) = answer.choices
    assert choice.message.content == "You said: hello"
    assert (choice.message.role, choice.finish_reason) == ("assistant", "stop")
    assert (answer.object, answer.model) == ("chat.completion", "echo")
    run = host.run_of(answer.id.removeprefix("chatcmpl-"))
    conversation = host.api("GET", f"conversations/{run['conversation']}/")
    assert conversation["kind"] == "stateless"
    said = host.api("GET", f"conversations/{run['conversation']}/messages/")["results"]
    assert [(one["role"], one["text"]) for one in reversed(said)] == [
        *((message["role"], message["content"]) for message in (*HISTORY, HELLO)),
        ("assistant", "You said: hello"),
    ]


def test_a_completion_comes_in_parts_with_its_usage(client):
    chunks = list(
        client.chat.completions.create(
            model="assistant",
            messages=[HELLO],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert len({chunk.id for chunk in chunks}) == 1
    *parts, last, usage = chunks
    assert parts[0].choices[0].delta.role == "assistant"
    texts = [chunk.choices[0].delta.content for chunk in parts if chunk.choices]
    assert len([text for text in texts if text]) > 3
    assert "".join(filter(None, texts)).endswith("You said: hello")
    assert last.choices[0].finish_reason == "stop"
    assert usage.choices == []
    assert usage.usage.total_tokens > usage.usage.prompt_tokens > 0


def test_the_history_reaches_the_model(client):
    alone = client.chat.completions.create(model="assistant", messages=[HELLO])
    later = client.chat.completions.create(
        model="assistant", messages=[*HISTORY, HELLO]
    )
    assert later.usage.prompt_tokens > alone.usage.prompt_tokens


def test_a_response_comes_whole(client):
    answer = client.responses.create(
        model="assistant", input=[HELLO], instructions="Be kind."
    )
    assert answer.output_text.endswith("You said: hello")
    assert (answer.status, answer.error) == ("completed", None)
    assert answer.usage.total_tokens > answer.usage.input_tokens > 0


def test_a_response_is_streamed(client):
    with client.responses.stream(model="echo", input="hello") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text == "You said: hello"
    types = [event.type for event in events]
    assert types[:2] == ["response.created", "response.in_progress"]
    assert types[-1] == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [one.delta for one in events if one.type == "response.output_text.delta"]
    assert "".join(deltas) == "You said: hello"


def test_unknown_models_are_openai_errors(client):
    for call in (
        lambda: client.models.retrieve("gpt-4.1"),
        lambda: client.chat.completions.create(model="nobody", messages=[HELLO]),
        lambda: client.responses.create(model="nobody", input="hello"),
    ):
        with pytest.raises(openai.NotFoundError) as raised:
            call()
        assert raised.value.code == "model_not_found"
        assert raised.value.type == "invalid_request_error"


def test_a_wrong_token_is_an_openai_error(client):
    with pytest.raises(openai.AuthenticationError) as raised:
        client.with_options(api_key="wrong").models.list()
    assert raised.value.code == "invalid_api_key"
    assert raised.value.request_id


def test_a_failed_run_is_an_openai_error(client, host):
    host.make_agent("openai-broken", "plugin:langbot/echo/default")
    without_model = {"runner_id": LOCAL_AGENT, "runner_config": {}}
    host.inside(set_agent, slug="openai-broken", columns=without_model)
    with pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(model="openai-broken", messages=[HELLO])
    assert (raised.value.status_code, raised.value.code) == (502, "runner.no_model")
    assert raised.value.response.headers["x-should-retry"] == "false"
    with pytest.raises(openai.APIError, match="no usable model"):
        list(
            client.chat.completions.create(
                model="openai-broken", messages=[HELLO], stream=True
            )
        )
    events = list(
        client.responses.create(model="openai-broken", input="hello", stream=True)
    )
    assert events[-1].type == "response.failed"
    assert events[-1].response.error.code == "runner.no_model"


def test_who_leaves_cancels_the_run(client, host):
    host.make_agent("openai-waiting", "plugin:nobody/offline/default")
    stream = client.chat.completions.create(
        model="openai-waiting", messages=[HELLO], stream=True
    )
    run_id = next(iter(stream)).id.removeprefix("chatcmpl-")
    assert host.run_of(run_id)["status"] == "queued"
    stream.close()
    assert host.wait_run(run_id, "cancelled")["status_reason"] == "the caller has gone"


@pytest.fixture(scope="session")
def javascript():
    """The folder of the official JavaScript client; installed once, kept by git's
    ignore list. Skips where it cannot be had."""
    folder = npm_package("openai", JS_VERSION).parents[1]
    shutil.copy(SCRIPT, folder / SCRIPT.name)
    return folder


@pytest.mark.timeout(INSTALL_SECONDS + 60)
def test_the_javascript_client(javascript, host):
    played = subprocess.run(
        ["node", SCRIPT.name],
        cwd=javascript,
        env={
            "PATH": os.environ["PATH"],
            "OPENAI_BASE_URL": f"{host.url}/v1",
            "OPENAI_API_KEY": host.secrets["api_token"],
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert played.returncode == 0, played.stderr
    seen = json.loads(played.stdout)
    assert {"assistant", "echo"} <= set(seen["models"])
    assert (seen["chat"], seen["finish"]) == ("You said: hello", "stop")
    assert len(seen["parts"]) > 3
    assert "".join(seen["parts"]).endswith("You said: hello")
    assert seen["usage"]["total_tokens"] > 0
    assert seen["response"] == seen["streamed"] == "You said: hello"
    assert seen["events"][-1] == "response.completed"
    assert seen["error"] == {
        "kind": "NotFoundError",
        "status": 404,
        "code": "model_not_found",
        "param": "model",
    }
    assert seen["unauthorized"] == {
        "kind": "AuthenticationError",
        "code": "invalid_api_key",
    }
