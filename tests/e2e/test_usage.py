"""Usage and budgets on real processes: what clients are told is what is recorded."""

import openai
from openai.types.chat import ChatCompletionUserMessageParam

from tests.support.usage_rows import open_calls, usage_of, use_up

HELLO: ChatCompletionUserMessageParam = {"role": "user", "content": "hello"}
LOCAL_AGENT = "plugin:langbot/local-agent/default"


def test_the_usage_of_the_openai_door_is_the_record(host):
    client = openai.OpenAI(
        base_url=f"{host.url}/v1", api_key=host.secrets["api_token"], timeout=60
    )
    answer = client.chat.completions.create(model="assistant", messages=[HELLO])
    run_id = answer.id.removeprefix("chatcmpl-")
    (record,) = host.inside(usage_of, run_id=run_id)
    assert record["outcome"] == "completed"
    assert (record["cost_microdollars"], record["cost_source"]) == (0, "free")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == record["prompt_tokens"] > 0
    assert answer.usage.completion_tokens == record["completion_tokens"] > 0
    run = host.run_of(run_id)
    assert run["usage"]["reported_by"] == "host"
    assert run["usage"]["model_calls"] == 1
    assert run["usage"]["total_tokens"] == answer.usage.total_tokens
    assert host.inside(open_calls) == 0


def test_a_run_without_model_calls_keeps_none(host):
    run = host.ask("hello")
    assert host.inside(usage_of, run_id=run["id"]) == []
    assert run["usage"] is None
    assert run["cost_microdollars"] is None


def test_a_budget_that_ends_under_way_fails_the_run_in_words(host):
    assistant = host.api("GET", "agents/by-slug/assistant/")
    host.make_agent(
        "thrifty",
        LOCAL_AGENT,
        assistant["runner_config"],
        resource_policy=assistant["resource_policy"],
    )
    host.inside(use_up, slug="thrifty")
    run = host.ask("hello", agent="thrifty")
    assert (run["status"], run["error_code"]) == ("failed", "quota_exceeded")
    (failed,) = host.events(run["id"], "run.failed")
    assert "budget is used up until" in failed["data"]["error"]
    assert host.inside(usage_of, run_id=run["id"]) == []
