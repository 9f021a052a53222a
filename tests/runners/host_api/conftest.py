"""Host calls of a run, made as the worker makes them: rights first, then the handler.

Whether a call gets that far (other sockets, ended runs) is asked in
`test_authorization`; here it is what a live run is answered.
"""

from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from agents.models import AgentBinding, RunnerDescriptor
from langbot.lib.group_commit import WritingExecutor
from runners.engine.snapshot import freeze, load_runs
from runners.host_api.authorization import check_rights
from runners.host_api.calls import HostCall
from runners.host_api.dispatch import HANDLERS
from runners.ledger.journal import CallKey
from runners.protocol.errors import ProtocolError
from tests.factories import AgentFactory
from tests.runners.admin_rows import make_run

EVERYTHING = {
    "history": ["page", "search"],
    "events": ["get", "page"],
    "storage": ["plugin", "workspace"],
}
_seq_ids = count(1)


class Inline(WritingExecutor):
    """The engine's executor, on the test's own thread and connection."""

    def __init__(self):
        super().__init__("inline")

    async def __call__(self, function, /, *args, **kwargs):
        return await sync_to_async(function)(*args, **kwargs)

    async def together(self, place, work, /, *args, **kwargs):
        return await self(work, *args, **kwargs)


class Told:
    """The run as its worker carries it: what handlers add, and its files by id."""

    def __init__(self):
        self.events = []
        self.known = {}

    async def tell(self, event):
        self.events.append(event)

    async def written(self):
        """All that it was told is written elsewhere in these tests."""

    @asynccontextmanager
    async def effect(self):
        yield

    async def files(self, names):
        missing = [name for name in names if name not in self.known]
        if missing:
            raise ProtocolError("not_found", f"{missing[0]} is no file of this run")
        return [self.known[name] for name in names]


class Caller:
    """One run, and what its plugin gets for a call."""

    def __init__(self, run):
        (self.run,) = load_runs([run.pk])
        self.facts = freeze(self.run)
        self.told: Any = Told()

    def __call__(self, action, /, seq_id=None, **data):
        number = next(_seq_ids) if seq_id is None else seq_id
        key = CallKey(self.run.pk, 1, number, action)
        check_rights(self.facts, action, data)
        return async_to_sync(HANDLERS[action])(
            HostCall(self.facts, data, Inline(), key, handle=self.told)
        )

    def refused(self, action, /, **data):
        """Return the code of the error."""
        with pytest.raises(ProtocolError) as caught:
            self(action, **data)
        return caught.value.code


@pytest.fixture
def caller_of(workspace):
    """Make a run of a new agent, or another one of a run's conversation."""

    def make(
        permissions=EVERYTHING,
        kind="Runner",
        plugin="acme/helper",
        binding=None,
        place=workspace,
        beside=None,
        **policy,
    ):
        number = next(_seq_ids)
        capabilities, run = policy.pop("capabilities", {}), policy.pop("run", {})
        runner = RunnerDescriptor.objects.create(
            runner_id=f"plugin:{plugin}/r{number}",
            plugin=plugin,
            kind=kind,
            permissions=permissions,
            capabilities=capabilities,
        )
        granted = {"workspace_storage": True, **policy}
        agent = AgentFactory.create(
            workspace=place, runner_id=runner.runner_id, resource_policy=granted
        )
        fields: dict[str, Any] = {
            "status": "running" if beside is None else "completed"
        }
        if binding is not None:
            fields["binding"] = AgentBinding.objects.create(
                agent=agent, scope="workspace", resource_policy=binding
            )
        if beside is not None:
            fields["conversation"] = beside.run.conversation
        fields |= run
        return Caller(make_run(agent, **fields))

    return make


@pytest.fixture
def caller(caller_of):
    return caller_of()
