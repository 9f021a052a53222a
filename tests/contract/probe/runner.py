"""The probe: makes the host calls that its config names and checks every answer.

It is copied into a generated plugin and runs on released SDKs only. Each function is
one host call, by the name of its action; its docstring says what is checked.
"""
# The SDK is not installed where mypy runs.
# mypy: ignore-errors

import asyncio
import base64
import enum
import json
import sys
import time
import traceback

from langbot_plugin.api.definition.components.runner.runner import Runner
from langbot_plugin.api.entities.builtin.platform.message import MessageChain, Plain
from langbot_plugin.api.entities.builtin.provider.message import Message
from langbot_plugin.api.entities.builtin.runner import RunnerResult

CALLS = {}


def call(function):
    """Take the function into the list of host calls."""
    CALLS[function.__name__] = function
    return function


class Probe:
    """What a call may use: the SDK's proxy, the context, the test's values."""

    def __init__(self, api, ctx):
        self.api, self.ctx, self.values = api, ctx, dict(ctx.config)

    async def raw(self, action, **data):
        """Make a call that released SDKs have no method for."""
        name = enum.Enum("Raw", {"ACTION": action}).ACTION
        request = {"run_id": self.ctx.run_id, **data}
        return await self.api._api.plugin_runtime_handler.call_action(name, request, 15)

    @property
    def file(self):
        """The id of the file that came with the message."""
        return next(one.ref for one in self.ctx.input.attachments if one.ref)

    def tell(self, call, what):
        """Tell the test past the run, which may have ended."""
        sys.stdout.write(f"probe: {self.ctx.run_id} {call} {what}\n")
        sys.stdout.flush()

    async def ended(self, call):
        """Tell that a call was answered which ends this run; wait for its end."""
        self.tell(call, "ok")
        await asyncio.sleep(60)

    def messages(self):
        return [Message(role="user", content="how are you?")]


@call
async def get_langbot_version(p):
    """A version number"""
    found = await p.api._api.get_langbot_version()
    assert found[0].isdigit(), found


@call
async def get_prompt(p):
    """The agent's own prompt"""
    found = await p.api.get_prompt()
    assert found == [{"role": "system", "content": "Be a probe."}], found


@call
async def history_page(p):
    """The message, newest first and oldest first, with its file"""
    page = await p.api.history_page(limit=10, include_attachments=True)
    (said,) = [item for item in page.items if item.role == "user"]
    assert said.content == p.ctx.input.text, page
    assert said.event_id == p.ctx.event.event_id, page
    assert len(said.attachment_refs) == 1, page
    sequence = [item.seq for item in page.items]
    assert sequence == sorted(sequence, reverse=True), sequence
    forward = await p.api.history_page(limit=10, direction="forward")
    sequence = [item.seq for item in forward.items]
    assert sequence == sorted(sequence), sequence


@call
async def history_search(p):
    """The message by one of its words, Chinese ones too"""
    found = await p.api.history_search("天气", top_k=3)
    assert found.query == "天气", found
    assert p.ctx.input.text in [item.content for item in found.items], found
    nothing = await p.api.history_search("nowhere")
    assert nothing.items == [], nothing


@call
async def event_get(p):
    """The run's event"""
    found = await p.api.event_get(p.ctx.event.event_id)
    assert found.event_type == "message.received", found


@call
async def event_page(p):
    """The run's event among those of its type"""
    found = await p.api.event_page(event_types=["message.received"], limit=5)
    assert p.ctx.event.event_id in [one.event_id for one in found.items], found
    none = await p.api.event_page(event_types=["vendor.unknown"])
    assert none.items == [], none


@call
async def state_set(p):
    """Success for JSON of any kind"""
    for value in ({"n": [1, None, "天"]}, "kept"):
        found = await p.api.state_set("conversation", "probe", value)
        assert found == {"success": True}, found


@call
async def state_get(p):
    """What was set, null for what was not"""
    await p.api.state_set("actor", "probe.get", {"n": 1.5})
    found = await p.api.state_get("actor", "probe.get")
    assert found["value"] == {"n": 1.5}, found
    missing = await p.api.state_get("actor", "probe.none")
    assert missing["value"] is None, missing


@call
async def state_list(p):
    """Keys by prefix, and whether there are more"""
    for number in range(3):
        await p.api.state_set("conversation", f"list.{number}", number)
    found = await p.api.state_list("conversation", "list.", 2)
    assert found["keys"] == ["list.0", "list.1"], found
    assert found["has_more"] is True, found


@call
async def state_delete(p):
    """Success once, then none"""
    await p.api.state_set("conversation", "probe.gone", 1)
    first = await p.api.state_delete("conversation", "probe.gone")
    second = await p.api.state_delete("conversation", "probe.gone")
    assert (first["success"], second["success"]) == (True, False), (first, second)


@call
async def set_plugin_storage(p):
    """Bytes of every value"""
    await p.api.set_plugin_storage("probe.set", bytes(range(256)))


@call
async def get_plugin_storage(p):
    """The same bytes, an error for a missing key"""
    await p.api.set_plugin_storage("probe.get", bytes(range(256)))
    found = await p.api.get_plugin_storage("probe.get")
    assert found == bytes(range(256)), found
    await refused(p.api.get_plugin_storage("probe.none"), "not_found")


@call
async def get_plugin_storage_keys(p):
    """The keys that were set"""
    await p.api.set_plugin_storage("probe.key", b"1")
    found = await p.api.get_plugin_storage_keys()
    assert "probe.key" in found, found


@call
async def delete_plugin_storage(p):
    """The key is gone"""
    await p.api.set_plugin_storage("probe.delete", b"1")
    await p.api.delete_plugin_storage("probe.delete")
    found = await p.api.get_plugin_storage_keys()
    assert "probe.delete" not in found, found


@call
async def set_workspace_storage(p):
    """Bytes"""
    await p.api.set_workspace_storage("probe.set", b"ours")


@call
async def get_workspace_storage(p):
    """The same bytes"""
    await p.api.set_workspace_storage("probe.get", b"ours")
    assert await p.api.get_workspace_storage("probe.get") == b"ours"


@call
async def get_workspace_storage_keys(p):
    """The keys that were set"""
    await p.api.set_workspace_storage("probe.key", b"1")
    assert "probe.key" in await p.api.get_workspace_storage_keys()


@call
async def delete_workspace_storage(p):
    """The key is gone"""
    await p.api.set_workspace_storage("probe.delete", b"1")
    await p.api.delete_workspace_storage("probe.delete")
    assert "probe.delete" not in await p.api.get_workspace_storage_keys()


@call
async def count_tokens(p):
    """More tokens for more words"""
    few = await p.api.count_tokens(p.values["llm"], p.messages())
    many = await p.api.count_tokens(p.values["llm"], p.messages() * 20)
    assert 0 < few < many, (few, many)


@call
async def invoke_llm(p):
    """A message with text, and what it used"""
    found = await p.api.invoke_llm_with_usage(p.values["llm"], p.messages())
    assert found.message.role == "assistant", found
    assert found.message.content, found
    assert found.usage, found


@call
async def invoke_llm_stream(p):
    """Parts that make a text; leaving early stops the model"""
    parts = [
        part async for part in p.api.invoke_llm_stream(p.values["llm"], p.messages())
    ]
    assert "".join(part.content or "" for part in parts), parts
    async for _ in p.api.invoke_llm_stream(p.values["llm"], p.messages()):
        break


@call
async def invoke_embedding(p):
    """A vector for each text, nearer for shared words"""
    vectors = await p.api.invoke_embedding(p.values["embedding"], ["a b", "a b", "z"])
    assert len(vectors) == 3, vectors
    assert vectors[0] == vectors[1] != vectors[2], vectors


@call
async def invoke_rerank(p):
    """The document that answers the query, first"""
    documents = ["nothing of it", "blue sky today"]
    found = await p.api.invoke_rerank(
        p.values["rerank"], "blue sky", documents, top_k=1
    )
    assert [item["index"] for item in found] == [1], found


@call
async def get_tool_detail(p):
    """Name, description and JSON Schema"""
    found = await p.api.get_tool_detail("probe_echo")
    assert found["name"] == "probe_echo", found
    assert found["parameters"]["properties"]["text"] == {"type": "string"}, found


@call
async def call_tool(p):
    """The tool's answer, its own error, and a refusal of other tools"""
    found = await p.api.call_tool("probe_echo", {"text": "天气"})
    assert found == {"echo": "天气"}, found
    await refused(p.api.call_tool("probe_broken", {}), "probe.broken")
    await refused(p.api.call_tool("unknown", {}), "PermissionDeniedError")


@call
async def retrieve_knowledge_base(p):
    """Passages with their text and score"""
    found = await p.api.retrieve_knowledge(p.values["knowledge"], "the sky", top_k=1)
    assert found[0]["content"][0]["text"] == "The sky is blue.", found
    assert found[0]["score"] > 0, found


@call
async def run_get(p):
    """This run, running"""
    found = await p.api.run_get()
    assert found.run_id == p.ctx.run_id, found
    assert getattr(found.status, "value", found.status) == "running", found
    assert found.cancel_requested_at is None, found


@call
async def run_list(p):
    """This run among those of the conversation"""
    found = await p.api.run_list(limit=5)
    assert p.ctx.run_id in [one.run_id for one in found.items], found


@call
async def run_events_page(p):
    """The ledger in order"""
    found = await p.api.run_events_page(limit=2)
    assert [one.type for one in found.items] == ["run.queued", "run.started"], found


@call
async def run_append_result(p):
    """The event that the result became"""
    log = RunnerResult(
        run_id=p.ctx.run_id,
        type="processor.log",
        data={"text": "appended by the probe", "level": "info"},
    )
    found = await p.api.run_append_result(log)
    assert (found.run_id, found.type) == (p.ctx.run_id, "processor.log"), found
    assert found.sequence > 0, found


@call
async def run_cancel(p):
    """This run, asked to stop; it is cancelled"""
    found = await p.api.run_cancel(reason="the probe asks")
    assert found.run_id == p.ctx.run_id, found
    assert found.cancel_requested_at or found.status == "cancelled", found
    await p.ended("run_cancel")


@call
async def run_finalize(p):
    """This run, completed, and nothing after it counts"""
    answer = Message(role="assistant", content="said before the end")
    data = {"message": answer.model_dump()}
    said = RunnerResult(run_id=p.ctx.run_id, type="message.completed", data=data)
    await p.api.run_append_result(said)
    found = await p.api.run_finalize(status="completed", reason="the probe ends it")
    assert getattr(found.status, "value", found.status) == "completed", found
    await p.ended("run_finalize")


@call
async def steering_pull(p):
    """What a person wrote while the run was at work"""
    await p.ctx.log("waiting for steering")
    until = time.monotonic() + 20
    items = []
    while not items and time.monotonic() < until:
        items = (await p.api.steering_pull()).items
        await asyncio.sleep(0.05)
    assert [item.input.text for item in items] == ["turn left"], items
    assert items[0].claimed_run_id == p.ctx.run_id, items


@call
async def call_platform_api(p):
    """The platform's answer to an action and to a message"""
    found = await p.api.call_platform_api(p.values["bot"], "get_user", {"id": "u1"})
    assert found == {"id": "u1", "name": "Ada"}, found
    chain = MessageChain([Plain(text="hello")])
    await p.api.send_message(p.values["bot"], "person", "u1", chain)
    await p.api.reply_message(chain)


@call
async def reply_stream(p):
    """A reply that grows and is finished"""
    async with p.api.reply_stream() as stream:
        await stream.update("growing")
        await stream.update("growing reply")
    assert stream.result is not None


@call
async def get_box_status(p):
    """`not_available`: there is no sandbox"""
    await refused(p.api.get_box_status(), "not_available")


@call
async def list_boxes(p):
    """`not_available`: there is no sandbox"""
    await refused(p.api.list_boxes(), "not_available")


@call
async def acquire_box(p):
    """`not_available`: there is no sandbox"""
    await refused(p.api.acquire_box("probe"), "not_available")


@call
async def bind_box(p):
    """`not_available`: there is no sandbox"""
    await refused(p.api.bind_box("probe"), "not_available")


@call
async def import_box_attachments(p):
    """`not_available`: there is no sandbox"""
    await refused(p.api.import_box_attachments(), "not_available")


@call
async def export_box_files(p):
    """`not_available`: there is no sandbox"""
    # The oldest SDK takes no paths.
    await refused(p.raw("export_box_files", paths=["/out"]), "not_available")


@call
async def artifact_metadata(p):
    """Name and size of the message's file"""
    found = await p.raw("artifact_metadata", artifact_id=p.file)
    assert (found["name"], found["size_bytes"]) == ("notes.txt", 5), found


@call
async def artifact_read(p):
    """The file's bytes"""
    found = await p.raw("artifact_read", artifact_id=p.file)
    assert base64.b64decode(found["content_base64"]) == b"hello", found


@call
async def artifact_read_range(p):
    """Some of the file's bytes"""
    found = await p.raw("artifact_read_range", artifact_id=p.file, offset=1, length=3)
    assert base64.b64decode(found["content_base64"]) == b"ell", found


async def refused(coroutine, code):
    """Fail unless the call ends with this error code."""
    try:
        answer = await coroutine
    except Exception as error:  # noqa: BLE001  # each SDK has its own
        found = getattr(getattr(error, "error", None), "code", type(error).__name__)
        assert found == code, f"{found}: {error}, not {code}"
    else:
        raise AssertionError(f"answered {answer!r}, not {code}")


def told(error):
    """Return an error as one line: its code, or where an assertion failed."""
    code = getattr(getattr(error, "error", None), "code", None)
    where = traceback.extract_tb(error.__traceback__)[-1].line
    return f"{code or type(error).__name__}: {error} ({where})"


class Default(Runner):
    """Answers with a JSON object: `ok`, or what went wrong, for each call."""

    async def run(self, ctx):
        probe = Probe(self.get_run_api(ctx), ctx)
        found = {}
        for name in probe.values["calls"].split(","):
            try:
                await CALLS[name](probe)
            except Exception as error:  # noqa: BLE001  # told to the test
                found[name] = told(error)
                probe.tell(name, found[name])
            else:
                found[name] = "ok"
        text = json.dumps(found, ensure_ascii=False)
        yield RunnerResult.run_completed(
            ctx.run_id, Message(role="assistant", content=text)
        )
