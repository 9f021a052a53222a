"""What a model is told first is the same bytes for all people and turns (AG-92).

Providers that speak OpenAI's JSON keep what a prompt begins with by themselves; no
mark tells them to. So nothing of a person, a time or a turn may stand before the talk.
"""

import json

import pytest

from agents.models import Model as StoredModel
from agents.models import ModelProvider, RunnerDescriptor
from agents.resources.openai_messages import request_body
from agents.resources.shapes import LlmRequest, ModelSpec
from agents.resources.tools import Tool
from runners.engine.snapshot import build_context, freeze, load_runs, thaw
from runners.models import AgentRun
from runners.official.local_agent import LocalAgentRunner
from tests.factories import AgentFactory
from tests.runners.admin_rows import make_run
from tests.runners.host_api import providers
from tests.runners.official.test_local_agent import Model

PROMPT = [{"role": "system", "content": "Answer the customers of the shop."}]
SCHEMA = {"type": "object", "properties": {"z": {"type": "string"}, "a": {}}}
CLIENT = {"name": "a_clipboard", "description": "Reads", "parameters": SCHEMA}
SPEC = ModelSpec(
    id="m", name="m", kind="llm", provider_id="p", provider_name="P", provider_kind="x"
)
PEOPLE = [
    ("Ann", {}, "fresh"),
    ("Bob", {"client_tools": ["a_clipboard"]}, "fresh"),
    ("Cem", {}, "thawed"),
]


@pytest.fixture
def contexts(workspace, monkeypatch):
    """The contexts of three people's runs of one agent, as its runner gets them."""
    tools = providers.Tools()
    providers.install(monkeypatch, tools)
    odd = Tool(name="odd", description="Odd", parameters=SCHEMA)
    monkeypatch.setitem(providers.TOOLS, "odd", odd)
    agent = AgentFactory.create(
        workspace=workspace,
        runner_id=_runner().runner_id,
        runner_config={"prompt": PROMPT, "model": {"primary": _model(workspace)}},
        resource_policy={"tools": ["shout", "odd"], "client_tools": [CLIENT]},
    )
    return [_context(agent, *person) for person in PEOPLE]


def _runner():
    return RunnerDescriptor.objects.create(
        runner_id=LocalAgentRunner.runner_id(),
        plugin="langbot/local-agent",
        kind="Runner",
        permissions=dict(LocalAgentRunner.permissions),
        capabilities=dict.fromkeys(LocalAgentRunner.capabilities, True),
        config_schema=[{"name": "model", "type": "model-fallback-selector"}],
    )


def _model(workspace):
    provider = ModelProvider.objects.create(workspace=workspace, name="Cloud")
    model = StoredModel.objects.create(provider=provider, name="small")
    return str(model.public_id)


def _context(agent, name, metadata, how):
    row = make_run(agent, text=f"I am {name}", metadata=metadata, status="running")
    (run,) = load_runs([row.pk])
    facts = freeze(run)
    if how == "thawed":  # by another worker, from what the database kept
        AgentRun.objects.filter(pk=run.pk).update(snapshot=facts.snapshot)
        (run,) = load_runs([row.pk])
        facts = thaw(run)
    run.event.actor = {"id": name, "name": name}
    return build_context(run, facts)


@pytest.fixture
async def model(connect_plugin):
    return Model(await connect_plugin(LocalAgentRunner()))


def body_of(asked):
    request = LlmRequest(messages=asked["messages"], funcs=asked["funcs"])
    return request_body(SPEC, request)


async def test_all_people_and_turns_begin_with_the_same_bytes(model, contexts):
    bodies = []
    for number, context in enumerate(contexts):
        model.say("user", f"said in turn {number}", item_type="message")
        await model.run(**context)
        bodies.append(body_of(model.asked("invoke_llm_stream")[-1]))
    assert [body["messages"][-1]["content"] for body in bodies] == [
        f"I am {name}" for name, _metadata, _how in PEOPLE
    ]
    (prompt,) = {json.dumps(body["messages"][0]) for body in bodies}
    assert "shout" not in prompt  # the tools are not told twice
    names = [[tool["function"]["name"] for tool in body["tools"]] for body in bodies]
    # What only one run has comes behind what all have.
    assert names == [["shout", "odd"], ["shout", "odd", "a_clipboard"], names[0]]
    assert len({json.dumps(body["tools"][:2]) for body in bodies}) == 1


def test_a_schema_has_one_order_whoever_kept_it():
    turned = {"properties": {"a": {}, "z": {"type": "string"}}, "type": "object"}
    bodies = [
        request_body(
            SPEC, LlmRequest(messages=[], funcs=[{"name": "x", "parameters": p}])
        )
        for p in (SCHEMA, turned)
    ]
    assert json.dumps(bodies[0]) == json.dumps(bodies[1])
