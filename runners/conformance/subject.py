"""The runner under test: an agent of the kit's own, and its dry runs."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from agents.models import Agent, RunnerDescriptor
from agents.services import remove_agent, save_agent, unarchive_agent
from langbot.core.models import Workspace
from runners.choices import LIVE, ActionStatus, RunStatus
from runners.conformance.report import NotKept, NotTried
from runners.engine.unknown_keys import MARK
from runners.models import AgentRun, PendingAction, RunEvent
from runners.public import start_run
from runners.services import request_cancel

AUTHOR: Final = "checkplugin"
_LOOK_SECONDS: Final = 0.02
_SLUG_LENGTH: Final = 50


@dataclass(frozen=True, slots=True)
class Plan:
    """What is said to the runner.

    `message` should take a moment at most, `slow_message` at least `seconds`; without
    one, cancelling and deadlines are tried only where a run happens to last.
    """

    message: str = "Conformance check: say something."
    slow_message: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 30.0


@dataclass(slots=True)
class Subject:
    """One runner; `runs` are those started since the last `take_runs`."""

    descriptor: RunnerDescriptor
    agent: Agent
    plan: Plan
    runs: list[UUID] = field(default_factory=list)

    def can(self, capability: str) -> bool:
        return bool(self.descriptor.capabilities.get(capability, False))

    def start(self, text: str = "", **marks: Any) -> UUID:
        """Start a dry run; `marks` ask the host for something unusual."""
        metadata = {MARK: {"by": AUTHOR, **marks}}
        accepted = start_run(
            self.agent,
            text or self.plan.message,
            source=AUTHOR,
            dry_run=True,
            metadata=metadata,
        )
        assert accepted.run_id is not None  # noqa: S101  it stands alone: it starts
        self.runs.append(accepted.run_id)
        return accepted.run_id

    def end(self, run_id: UUID) -> AgentRun:
        """Return a run once it ended; raises NotKept when it does not."""
        return self._wait(run_id, lambda run: run.status not in LIVE, "end")

    def begun(self, run_id: UUID) -> AgentRun:
        """Return a run once its plugin has it; it may have ended since."""
        return self._wait(run_id, _has_begun, "begin")

    def _wait(self, run_id: UUID, check: Any, what: str) -> AgentRun:
        deadline = time.monotonic() + self.plan.seconds
        while True:
            run = AgentRun.objects.get(public_id=run_id)
            if check(run):
                return run
            if time.monotonic() > deadline:
                request_cancel(run, AUTHOR)
                message = f"a run did not {what} within {self.plan.seconds:g} s"
                raise NotKept(message)
            time.sleep(_LOOK_SECONDS)

    def completed(self, run_id: UUID) -> AgentRun:
        """Return a run that completed; raises NotKept for any other end."""
        run = self.end(run_id)
        if run.status != RunStatus.COMPLETED:
            message = f"the run is {run.status}: {run.error_code} {_said(run)}"
            raise NotKept(message.strip())
        return run

    def slow(self, **marks: Any) -> UUID:
        """Start a run that lasts; raises NotTried when this one has ended already."""
        run_id = self.start(self.plan.slow_message, **marks)
        run = self.begun(run_id)
        if run.status not in LIVE:
            message = "its runs end at once; name a slow one with --slow-message"
            raise NotTried(message)
        return run_id

    def take_runs(self) -> list[UUID]:
        runs, self.runs = self.runs, []
        return runs

    @contextmanager
    def config(self, **settings: Any) -> Iterator[None]:
        """Give the agent settings that its schema need not have."""
        agents = Agent.objects.filter(pk=self.agent.pk)
        before = dict(self.agent.runner_config)
        agents.update(runner_config={**before, **settings})
        try:
            yield
        finally:
            agents.update(runner_config=before)


@contextmanager
def subject_of(
    descriptor: RunnerDescriptor, workspace: Workspace, plan: Plan
) -> Iterator[Subject]:
    """Yield the runner with an agent, which is archived afterwards with its runs.

    Raises ValidationError for settings that the runner's schema refuses.
    """
    slug = f"check-{descriptor.pk}"[:_SLUG_LENGTH]
    agent = Agent.objects.filter(workspace=workspace, slug=slug).first()
    if agent is None:
        agent = Agent(workspace=workspace, slug=slug)
    else:
        unarchive_agent(agent, author=AUTHOR)
    agent.name = f"Check {descriptor.runner_id}"[:100]
    agent.runner_id = descriptor.runner_id
    agent.enabled, agent.runner_config = True, dict(plan.config)
    try:
        save_agent(agent, author=AUTHOR)
        yield Subject(descriptor, agent, plan)
    finally:
        if agent.pk:
            _withdraw_questions(agent)
            remove_agent(agent, author=AUTHOR)


def _withdraw_questions(agent: Agent) -> None:
    """Keep what dry runs asked out of people's inbox."""
    asked = PendingAction.objects.filter(agent=agent, status=ActionStatus.OPEN)
    asked.update(status=ActionStatus.CANCELLED, settled_at=datetime.now(UTC))


def events_of(run: AgentRun, *types: str) -> list[RunEvent]:
    """Return the events of these types in a run's ledger, or all, in order."""
    events = RunEvent.objects.filter(run=run).order_by("seq")
    return list(events.filter(type__in=types) if types else events)


def reply_text(run: AgentRun) -> str:
    """Return the text of the run's last whole message."""
    said = events_of(run, "message.completed")
    return str(said[-1].data.get("text", "")) if said else ""


def asks(run: AgentRun) -> bool:
    """Whether the run asked a person something."""
    return bool(events_of(run, "action.requested"))


def _has_begun(run: AgentRun) -> bool:
    is_waiting = run.status in (RunStatus.CREATED, RunStatus.QUEUED)
    return not is_waiting and RunEvent.objects.filter(run=run, seq__gte=2).exists()


def _said(run: AgentRun) -> str:
    ends = events_of(run, "run.failed")
    return str(ends[-1].data.get("error", "")) if ends else ""
