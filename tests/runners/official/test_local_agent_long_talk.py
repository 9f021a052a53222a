"""LB-99 on the real host: its rows, rights, state and counts; models are scripted."""

from itertools import count

import pytest
from asgiref.sync import async_to_sync
from django.db.models.functions import Now

from agents.models import Model, ModelProvider, RunnerDescriptor
from runners.engine.snapshot import build_context, freeze, load_runs
from runners.host_api.authorization import check_rights
from runners.host_api.calls import HostCall
from runners.host_api.dispatch import HANDLERS
from runners.ledger.journal import CallKey
from runners.ledger.turns import append_transcripts
from runners.models import AgentRun, RunnerState, TranscriptItem
from runners.official.local_agent import LocalAgentRunner
from runners.official.local_agent_checkpoint import KEY
from runners.protocol.errors import ProtocolError
from runners.protocol.frames import Request
from runners.resets import reset_conversation
from runners.sdk import HostCallError
from runners.sdk.execution import Execution
from runners.sdk.testing.host import MemoryHost
from tests.factories import AgentFactory
from tests.runners.admin_rows import make_run
from tests.runners.host_api.conftest import Inline

WINDOW = 1000  # tokens
REAL = {"get_prompt", "history_page", "state_get", "state_set", "count_tokens"}
_seq_ids = count(1)


class RealHost(MemoryHost):
    """Models are scripted; every other call goes where the worker sends it."""

    def __init__(self, run, facts, given):
        super().__init__(LocalAgentRunner, build_context(run, facts), given)
        self.run, self.facts = run, facts

    async def call(self, action, data, seconds):
        if action not in REAL:
            return await super().call(action, data, seconds)
        key = CallKey(self.run.pk, 1, next(_seq_ids), action)
        call = HostCall(self.facts, dict(data), Inline(), key, handle=None)
        try:
            check_rights(self.facts, action, call.data)
            return await HANDLERS[action](call)
        except ProtocolError as error:  # as a frame brings it
            raise HostCallError(error.code, error.message) from None


@pytest.fixture
def agent(workspace):
    provider = ModelProvider.objects.create(workspace=workspace, name="Cloud")
    model = Model.objects.create(
        provider=provider, name="small", context_window_tokens=WINDOW
    )
    descriptor = RunnerDescriptor.objects.create(
        runner_id=LocalAgentRunner.runner_id(),
        plugin="langbot/local-agent",
        kind="Runner",
        permissions=dict(LocalAgentRunner.permissions),
        capabilities=dict.fromkeys(LocalAgentRunner.capabilities, True),
        config_schema=[{"name": "model", "type": "model-fallback-selector"}],
    )
    return AgentFactory.create(
        workspace=workspace,
        runner_id=descriptor.runner_id,
        runner_config={
            "prompt": "Be brief.",
            "model": {"primary": str(model.public_id)},
        },
    )


def say(conversation, lines):
    """Have somebody say as many lines of about 30 tokens each."""
    for number in range(lines):
        text = f"line {number} " + "x" * 100
        row = TranscriptItem(role="user", item_type="message", text=text)
        append_transcripts([(conversation, row)])


def carry(agent, **fields):
    """Carry a run; returns what its model read when it answered, and its sums."""
    row = make_run(agent, text="and now?", status="running", **fields)
    (run,) = load_runs([row.pk])
    facts = freeze(run)
    asked = []

    def answer(request):
        asked.append([str(one["content"]) for one in request["messages"]])
        return "A summary." if "Summarise" in asked[-1][0] else "Hello"

    models = {agent.runner_config["model"]["primary"]: answer}
    host = RealHost(run, facts, {"models": models})
    data = {"runner_name": "default", "context": host.context}
    request = Request(1, "run_runner", data)
    async_to_sync(Execution(host, request).run)(LocalAgentRunner())
    assert host.results[-1]["type"] == "run.completed", host.results[-1]
    AgentRun.objects.filter(pk=row.pk).update(status="completed", finished_at=Now())
    return asked[-1], asked[:-1], row.conversation


def test_a_long_talk_goes_on_with_its_summary_until_it_begins_anew(agent):
    _read, _sums, conversation = carry(agent)
    say(conversation, 40)
    read, sums, _ = carry(agent, conversation=conversation)
    assert len(sums) == 1
    assert "A summary." in read[1]
    (state,) = RunnerState.objects.filter(key=KEY)
    assert (state.scope, state.version) == ("conversation", 1)
    assert state.value["conversation_id"] == str(conversation.public_id)
    covered = TranscriptItem.objects.get(
        conversation=conversation, seq=int(state.value["covers_until"])
    )
    assert covered.text not in str(read)

    say(conversation, 3)
    again, sums, _ = carry(agent, conversation=conversation)
    assert not sums
    assert "A summary." in again[1]
    assert covered.text not in str(again)
    assert again[2 : len(read) - 1] == read[2:-1]
    assert len(again) == len(read) + 3

    conversation.refresh_from_db()
    reset_conversation(conversation, "ann")
    anew, sums, _ = carry(agent, conversation=conversation)
    assert not sums
    assert anew == ["Be brief.", "and now?"]


def test_an_agent_without_state_has_the_newest_messages(agent):
    agent.state_policy = {"scopes": ["actor"]}
    agent.save()
    _read, _sums, conversation = carry(agent)
    say(conversation, 40)
    read, sums, _ = carry(agent, conversation=conversation)
    assert not sums
    assert len(read) == 1 + 40 + 1
    assert not RunnerState.objects.exists()
