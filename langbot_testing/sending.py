"""A message of a test, from admission to the end of its run."""

from typing import Any

from langbot_testing.factories import make_workspace
from langbot_testing.fake_runner import FakeRunner
from langbot_testing.inline import run_pending
from langbot_testing.replies import Reply
from runners.models import AgentRun
from runners.public import MESSAGE, Accepted, dispatch_event, wait_for_run


def send(runner: FakeRunner, capture: Any, text: str = "hello", **event: Any) -> Reply:
    """Dispatch a message, carry its run and return how it ended.

    `capture` calls what waits for the commit: in most tests there is none.
    """
    make_workspace()
    event["input"] = {**event.get("input", {}), "text": text}
    with capture(execute=True):
        accepted = dispatch_event(MESSAGE, **event)
        run_pending(runner)
    return _reply(accepted)


def _reply(accepted: Accepted) -> Reply:
    if accepted.status == "ignored":
        return Reply(None, "ignored", reason=accepted.reason)
    result = wait_for_run(accepted, timeout=0)
    runs = AgentRun.objects.filter(public_id=result.run_id) if result.run_id else []
    run = next(iter(runs), None)
    return Reply(run, result.status, result.text, result.error, result.artifacts)
