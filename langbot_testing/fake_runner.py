"""A runner without a process: a test says what it answers."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import Any

from runners.protocol.context import RunnerContext
from runners.protocol.errors import ErrorCode
from runners.sdk import results
from runners.sdk.api import HostApi, HostCallError
from runners.sdk.context import RunContext
from runners.sdk.results import Result
from runners.sdk.runner import Runner

Answer = str | Iterable[Result]
Script = Answer | Runner | Callable[[RunnerContext], Answer]

RUNNER_ID = "plugin:langbot-testing/fake/default"


class FakeRunner:
    """Answers every run of a test, whatever runner its agent names.

    Without a script it repeats what it is told. `contexts` has what each run was told,
    the newest last.
    """

    runner_id = RUNNER_ID

    def __init__(self) -> None:
        self.contexts: list[RunnerContext] = []
        self._scripts: list[Script] = []

    def answers(self, *scripts: Script) -> None:
        """Answer the next runs with these, one each; the last one stays.

        A script is a text, a list of `runners.sdk.results`, a function of the run's
        context that returns one of both, or a `runners.sdk.Runner` of yours. What a
        script raises fails the test.
        """
        self._scripts = list(scripts)

    def results(self, context: dict[str, Any]) -> list[Result]:
        """Return what it answers to a run."""
        told = RunnerContext.load(context)
        self.contexts.append(told)
        script = self._next_script()
        if isinstance(script, Runner):
            return asyncio.run(_collect(script, told))
        answer = script(told) if callable(script) else script
        return _spoken(answer) if isinstance(answer, str) else list(answer)

    def _next_script(self) -> Script:
        if not self._scripts:
            return lambda context: context.input.text or ""
        return self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]


def _spoken(text: str) -> list[Result]:
    return [results.completed(text), results.run_completed()]


async def _collect(runner: Runner, context: RunnerContext) -> list[Result]:
    api = HostApi(context.run_id, _NoHost(), context.runtime.deadline_at)
    found = []
    async for result in runner.run(RunContext(context, api)):
        found.append(result)
        if result.is_terminal:
            break
    return found


class _NoHost:
    """Refuses the host calls of a runner that is run without a host."""

    async def call(
        self, action: str, data: Mapping[str, Any], seconds: float
    ) -> dict[str, Any]:
        raise _refusal(action)

    def stream(
        self, action: str, data: Mapping[str, Any], seconds: float
    ) -> AsyncGenerator[dict[str, Any]]:
        raise _refusal(action)


def _refusal(action: str) -> HostCallError:
    return HostCallError(ErrorCode.UNAVAILABLE, f"{action}: a test has no host to ask")
