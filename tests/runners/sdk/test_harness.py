"""`Runner.test()`: a runner without a server."""

from typing import Any

import pytest

from runners.official.echo import EchoRunner
from runners.official.local_agent import LocalAgentRunner
from runners.protocol.manifest import ManifestError
from runners.sdk import HostCallError, Runner, interactions, results


class Guest(Runner):
    author = "acme"
    plugin = "guest"
    label = "Guest"
    capabilities = ("streaming", "steering", "tool_calling", "knowledge_retrieval")
    permissions = {
        "models": ("invoke", "stream", "rerank", "count_tokens"),
        "tools": ("detail", "call"),
        "knowledge_bases": ("list", "retrieve"),
        "history": ("page", "search"),
        "events": ("get", "page"),
        "storage": ("plugin", "workspace"),
    }
    config = (
        {"name": "greeting", "type": "string", "default": "Hello"},
        {"name": "name", "type": "string", "required": True, "default": "you"},
    )


def runner(body, **attributes: Any) -> type[Runner]:
    """Make a runner of the generator `body(ctx)`."""

    async def run(self, ctx):
        async for result in body(ctx):
            yield result

    return type("Made", (Guest,), {"run": run, **attributes})


async def test_the_shipped_echo_answers():
    outcome = await EchoRunner.test("good day", config={"prefix": "> "})
    assert outcome.reply == "> You said: good day"
    assert (outcome.status, outcome.error_code, outcome.calls) == ("completed", "", [])
    assert [item["chunk"]["content"] for item in outcome.of("message.delta")] == [
        "> ",
        "You ",
        "said: ",
        "good ",
        "day",
    ]


async def test_nothing_streams_where_nobody_could_see_it():
    outcome = await EchoRunner.test("good day", streaming=False)
    assert outcome.of("message.delta") == []
    assert outcome.reply == "You said: good day"


async def test_the_shipped_agent_talks_to_a_scripted_model():
    outcome = await LocalAgentRunner.test(
        "and tomorrow?",
        config={"model": {"primary": "small", "fallbacks": []}, "prompt": "Be short."},
        models={"small": "Sunny again."},
        history=[("user", "how is the weather?"), ("assistant", "Sunny.")],
        prompt=[{"role": "system", "content": "Be short."}],
    )
    assert outcome.reply == "Sunny again."
    (asked,) = outcome.called("invoke_llm_stream")
    assert [message["role"] for message in asked["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert asked["messages"][-1]["content"] == "and tomorrow?"
    assert outcome.warnings == []


async def test_a_model_may_fail_or_answer_differently_each_time():
    failing = HostCallError("model.error", "busy", retryable=True)
    outcome = await LocalAgentRunner.test(
        "hi",
        config={"model": {"primary": "large", "fallbacks": ["small"]}},
        models={"large": [failing], "small": ["first", "second"]},
    )
    assert outcome.reply == "first"
    assert "large failed" in outcome.of("processor.log")[0]["text"]


async def test_settings_are_the_schemas_defaults_and_what_is_given():
    async def body(ctx):
        yield results.completed(f"{ctx.config['greeting']}, {ctx.config['name']}")

    assert (await runner(body).test(config={"name": "Ada"})).reply == "Hello, Ada"


async def test_a_setting_that_is_missing_is_said_at_once():
    needs = ({"name": "key", "type": "secret", "required": True},)

    async def body(ctx):
        yield results.run_completed()

    with pytest.raises(ValueError, match="key is required"):
        await runner(body, config=needs).test()


async def test_a_runner_that_the_host_would_refuse_is_refused():
    async def body(ctx):
        yield results.run_completed()

    with pytest.raises(ManifestError):
        await runner(body, plugin="has spaces").test()


async def test_state_is_read_and_left_behind():
    async def body(ctx):
        count = ctx.state.conversation["count"] + 1
        await ctx.api.state_set("count", count)
        yield results.state("last", ctx.text, "actor")
        yield results.completed(str(await ctx.api.state_get("count")))
        yield results.log(repr(await ctx.api.state_list()))
        yield results.log(repr(await ctx.api.state_delete("nothing")))

    outcome = await runner(body).test("hi", state={"conversation": {"count": 2}})
    assert outcome.reply == "3"
    assert outcome.state == {"conversation": {"count": 3}, "actor": {"last": "hi"}}
    assert outcome.called("state_set")[0]["value"] == 3
    logs = [item["text"] for item in outcome.of("processor.log")]
    assert logs == ["(['count'], False)", "False"]


async def test_storage_keeps_bytes():
    async def body(ctx):
        found = await ctx.api.storage_get("blob")
        await ctx.api.storage_set("blob", found + b"!")
        await ctx.api.storage_set("ours", b"w", "workspace")
        keys = await ctx.api.storage_keys()
        await ctx.api.storage_delete("blob")
        yield results.completed(repr(keys))

    outcome = await runner(body).test(storage={"blob": b"a"})
    assert outcome.reply == "['blob']"
    assert outcome.storage == {"plugin": {}, "workspace": {"ours": b"w"}}


async def test_tools_are_functions_or_their_results():
    async def weather(city):
        """Tells the weather."""
        return {"city": city, "sky": "clear"}

    def broken():
        raise LookupError

    async def body(ctx):
        detail = await ctx.api.get_tool_detail("weather")
        assert detail.parameters is not None
        yield results.log(
            f"{detail.description} {list(detail.parameters['properties'])}"
        )
        yield results.log(repr(await ctx.api.call_tool("weather", {"city": "Bern"})))
        yield results.log(repr(await ctx.api.call_tool("time")))
        try:
            await ctx.api.call_tool("broken")
        except HostCallError as error:
            yield results.log(error.code)
        yield results.log(ctx.resources.tools[0].description or "")

    tools = {"weather": weather, "time": "12:00", "broken": broken}
    outcome = await runner(body).test(tools=tools)
    assert [item["text"] for item in outcome.of("processor.log")] == [
        "Tells the weather. ['city']",
        "{'city': 'Bern', 'sky': 'clear'}",
        "'12:00'",
        "runtime_error",
        "Tells the weather.",
    ]


async def test_models_embed_rank_and_count():
    async def body(ctx):
        yield results.log(repr(await ctx.api.invoke_embedding("embed", ["ab"])))
        ranked = await ctx.api.invoke_rerank("rank", "q", ["a", "bbb", "cc"], top_k=2)
        yield results.log(repr([item.index for item in ranked]))
        tokens = await ctx.api.count_tokens(
            "embed", [{"role": "user", "content": "hi"}]
        )
        yield results.log(str(tokens > 0))

    models = {
        "embed": lambda data: [[float(len(text))] for text in data["texts"]],
        "rank": lambda data: [len(text) for text in data["documents"]],
    }
    outcome = await runner(body).test(models=models)
    logs = [item["text"] for item in outcome.of("processor.log")]
    assert logs == ["[[2.0]]", "[1, 2]", "True"]


async def test_the_conversation_is_there_to_be_read():
    async def body(ctx):
        hits = await ctx.api.history_search("BLUE")
        yield results.log(repr([item.text for item in hits.items]))
        event = await ctx.api.event_get(ctx.event.event_id)
        page = await ctx.api.event_page()
        yield results.log(f"{event.event_type} {len(page.items)}")
        run = await ctx.api.run_get()
        runs = await ctx.api.run_list()
        ledger = await ctx.api.run_events_page()
        yield results.log(f"{run.status} {len(runs.items)} {len(ledger.items)}")
        yield results.log(repr([i.text for i in await ctx.api.steering_pull("one")]))
        yield results.log(repr([i.text for i in await ctx.api.steering_pull()]))
        passages = await ctx.api.retrieve_knowledge("kb", "a blue sky", top_k=1)
        yield results.log(passages[0].text)

    outcome = await runner(body).test(
        "what now",
        history=[("user", "I like blue"), ("assistant", "red it is")],
        steering=["faster", "and", "louder"],
        knowledge={"kb": ["green grass", "the sky is blue"]},
    )
    assert [item["text"] for item in outcome.of("processor.log")] == [
        "['I like blue']",
        "message.received 1",
        "running 1 2",
        "['faster']",
        "['and', 'louder']",
        "the sky is blue",
    ]


async def test_history_comes_in_pages():
    async def body(ctx):
        said = [item.text for item in await ctx.history(3)]
        yield results.completed(" ".join(said))

    history = [("user", str(number)) for number in range(5)]
    assert (await runner(body).test("now", history=history)).reply == "2 3 4"


async def test_files_come_with_the_message():
    async def body(ctx):
        (attached,) = ctx.input.attachments
        about = await ctx.api.artifact_metadata(attached.ref)
        parts = [part async for part in ctx.api.artifact_chunks(attached.ref)]
        some = await ctx.api.artifact_read_range(attached.ref, 1, 2)
        yield results.completed(
            f"{about.size_bytes} {b''.join(parts)!r} {some.content!r}"
        )

    outcome = await runner(body).test(files={"a.txt": b"abcd"})
    assert outcome.reply == "4 b'abcd' b'bc'"


async def test_what_is_said_beside_the_answer_is_kept_apart():
    async def body(ctx):
        await ctx.api.reply("a moment")
        await ctx.api.reply([{"type": "Plain", "text": "still here"}])
        async with ctx.api.reply_stream() as reply:
            await reply.update("grow")
            await reply.update("growing")
        yield results.completed("done")

    outcome = await runner(body).test()
    assert outcome.replies == ["a moment", "still here", "growing"]
    assert outcome.reply == "done"


async def test_a_call_without_its_permission_is_refused():
    async def body(ctx):
        yield results.log(str(bool(ctx.resources.models)))
        await ctx.api.invoke_llm("small", [])

    outcome = await runner(body, permissions={}).test(models={"small": "hi"})
    assert outcome.of("processor.log") == [{"text": "False", "level": "info"}]
    assert isinstance(outcome.exception, HostCallError)
    assert outcome.exception.code == "permission_denied"
    assert 'permissions["models"]: "invoke"' in outcome.error


async def test_tools_take_a_capability_and_replies_do_not():
    async def body(ctx):
        yield results.log(repr([tool.tool_name for tool in ctx.resources.tools]))
        await ctx.api.reply("hi")
        await ctx.api.call_tool("time")

    outcome = await runner(body, capabilities=()).test(tools={"time": "12:00"})
    assert outcome.of("processor.log")[0]["text"] == "['event_reply']"
    assert outcome.replies == ["hi"]
    assert 'the capability "tool_calling"' in outcome.error


async def test_any_call_can_be_answered_by_the_test():
    async def body(ctx):
        who = await ctx.api.call_platform_api("bot", "get_user", {"id": 1})
        version = await ctx.api.get_langbot_version()
        yield results.completed(f"{who['name']} {version.version}")

    def platform(data):
        return {"result": {"name": f"user {data['params']['id']}"}}

    outcome = await runner(body).test(calls={"call_platform_api": platform})
    assert outcome.reply == "user 1 test"


async def test_a_call_that_nobody_answers_names_the_way():
    async def body(ctx):
        await ctx.api.get_box_status()
        yield results.run_completed()

    outcome = await runner(body).test()
    assert outcome.status == "failed"
    assert 'give calls={"get_box_status"' in outcome.error


async def test_what_a_runner_raises_is_told_as_the_host_tells_it():
    async def body(ctx):
        yield results.delta("so far")
        message = "it broke"
        raise ValueError(message)

    outcome = await runner(body).test()
    assert (outcome.status, outcome.error_code) == ("failed", "runner.exception")
    assert isinstance(outcome.exception, ValueError)
    assert outcome.reply == "so far"


async def test_a_run_ends_at_its_deadline():
    import asyncio

    async def body(ctx):
        await asyncio.Event().wait()
        yield results.run_completed()

    outcome = await runner(body).test(seconds=0.05)
    assert (outcome.status, outcome.error_code) == ("timeout", "runner.timeout")


async def test_a_result_that_the_host_would_drop_is_a_warning():
    async def body(ctx):
        yield results.state("", 1)
        yield results.Result("vendor.custom", {})
        yield results.completed("done")

    outcome = await runner(body).test()
    assert outcome.reply == "done"
    assert len(outcome.warnings) == 2
    assert "state.updated: key" in outcome.warnings[0]


async def test_what_cannot_be_sent_fails_the_run():
    async def body(ctx):
        yield results.state("k", object())

    outcome = await runner(body).test()
    assert outcome.error_code == "runner.exception"


async def test_a_question_is_asked_and_its_answer_read():
    asked = interactions.Interaction(
        interaction_id="order-7",
        title="How many?",
        fields=[interactions.FormField(id="n", label="Number", type="number")],
        actions=[interactions.Button(id="ok", label="Order", style="primary")],
        fallback_text="How many do you want?",
    )

    async def body(ctx):
        if ctx.submission is None:
            yield results.interaction(asked)
        else:
            yield results.completed(f"{ctx.submission.values['n']} ordered")

    made = runner(body)
    (request,) = (await made.test("order")).of("action.requested")
    assert request["action"] == "interaction.requested"
    assert request["payload"]["fields"][0] == {
        "id": "n",
        "label": "Number",
        "type": "number",
        "required": False,
        "options": [],
    }
    answer = {"interaction_id": "order-7", "action_id": "ok", "values": {"n": 3}}
    outcome = await made.test(context={"input": {"text": "", "interaction": answer}})
    assert outcome.reply == "3 ordered"
