"""People decide about tool calls of real runs: in time, late, after a crash, never."""

import json
from typing import Any

import pytest

from runners.actions import Decider, Decision, resolve_action
from runners.models import AgentRun, Conversation, PendingAction, TranscriptItem
from runners.public import start_run
from runners.services import request_cancel
from tests.factories import AgentFactory
from tests.support import counting_tool
from tests.support.cluster import Cluster, listens, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

BOSS = Decider(name="boss")
POLICY = {"enabled": True}


class Desk:
    """A cluster with agents whose tools need a person."""

    def __init__(self, cluster, workspace, marks):
        self.cluster, self.workspace, self.marks = cluster, workspace, marks
        self.agents = {
            name: AgentFactory.create(
                workspace=workspace,
                slug=name,
                runner_id=f"plugin:tests/load/{name}",
                resource_policy={"tools": [counting_tool.NAME]},
                approval_policy=POLICY,
            )
            for name in ("asking", "forgetful", "questioning")
        }

    def send(self, number, agent="asking", conversation=""):
        place = {"conversation": conversation} if conversation else {}
        accepted = start_run(self.agents[agent], str(number), **place)
        assert accepted.run_id is not None
        return AgentRun.objects.get(public_id=accepted.run_id)

    def action_of(self, run):
        find = PendingAction.objects.filter(run=run)
        self.until(find.exists, "somebody is asked")
        return find.get()

    def decide(self, action, decision, **more):
        given = Decision(decision=decision, **more)
        return resolve_action(action.public_id, given, BOSS)

    def wait(self, run, *statuses):
        def reached():
            run.refresh_from_db()
            return run.status in statuses

        self.until(reached, f"the run is {statuses}")

    def until(self, check, what):
        try:
            wait_until(check, what, 60)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.cluster.output()}") from None

    def executions(self, run):
        done = counting_tool.executions(self.marks)
        return {
            line.split()[1]: n for line, n in done.items() if str(run.public_id) in line
        }


@pytest.fixture
def desk_of(process_environment, workspace, tmp_path):
    clusters = []

    def make(workers=1, **limits):
        marks = tmp_path / "marks"
        variables = {
            "TEST_APPS": counting_tool.APP,
            counting_tool.MARKS: str(marks),
            "TEST_LIMITS": json.dumps(limits),
        }
        cluster = Cluster(process_environment | variables).__enter__()
        clusters.append(cluster)
        desk = Desk(cluster, workspace, marks)
        cluster.start(webs=1, workers=workers, plugins=1)
        return desk

    yield make
    for cluster in clusters:
        cluster.__exit__(None, None, None)


def kinds(run):
    return list(run.events.order_by("seq").values_list("type", flat=True))


def reply_of(run):
    return run.transcript.get(role="assistant", item_type="message").text


def assert_dense(run):
    seqs = list(run.events.order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, run.last_seq + 1))
    assert sum(kind in {"run.completed", "run.failed"} for kind in kinds(run)) == 1


def test_a_decision_in_time_is_answered_inside_the_call(desk_of):
    desk = desk_of()
    run = desk.send(1)
    action = desk.action_of(run)
    run.refresh_from_db()
    assert (run.status, action.parked, desk.executions(run)) == ("running", False, {})
    desk.decide(action, "approve")
    desk.wait(run, "completed")
    assert reply_of(run) == "before got {'number': 1}"
    assert desk.executions(run) == {"1": 1}
    asked = [kind for kind in kinds(run) if "action" in kind or "paused" in kind]
    assert asked == ["action.requested", "action.resolved"]
    assert_dense(run)

    killed = desk.send(2)
    action = desk.action_of(killed)
    desk.cluster.start_worker()
    desk.cluster.workers[0].kill()
    desk.until(lambda: "run.adopted" in kinds(killed), "it is adopted")
    desk.decide(action, "edit", args={"number": 20})
    desk.wait(killed, "completed")
    assert reply_of(killed) == "before got {'number': 20}"
    assert desk.executions(killed) == {"20": 1}
    assert_dense(killed)
    check_a_question(desk)


def test_a_late_decision_resumes_the_paused_run(desk_of):
    desk = desk_of(approval_wait_seconds=1.0)
    given: dict[str, tuple[dict[str, Any], str, dict[str, int]]] = {
        "approve": ({}, "approve {'number': 1}", {"1": 1}),
        "edit": ({"args": {"number": 5}}, "edit {'number': 5}", {"5": 1}),
        "reject": ({"reason": "no"}, "reject tool_rejected", {}),
        "respond": ({"values": {"a": 2}}, "respond {'a': 2}", {}),
    }
    runs = {name: desk.send(1) for name in given}
    cancelled, last = desk.send(7), desk.send(8)
    for run in [*runs.values(), cancelled, last]:
        desk.wait(run, "requires_action")
        assert (run.node, run.deadline_at) == (None, None)
    for name, (more, reply, executed) in given.items():
        run = runs[name]
        desk.decide(desk.action_of(run), name, **more)
        desk.wait(run, "completed")
        assert reply_of(run) == f"before \n\n{reply}"
        assert desk.executions(run) == executed
        assert_dense(run)
        assert [kind for kind in kinds(run) if kind.startswith("run.")] == [
            *("run.queued", "run.started", "run.paused", "run.resumed"),
            "run.completed",
        ]
        rows = run.transcript.order_by("seq").values_list("role", "item_type")
        assert ("tool", "tool_result") in list(rows)

    assert request_cancel(cancelled, "changed my mind")
    cancelled.refresh_from_db()
    action = desk.action_of(cancelled)
    assert (cancelled.status, action.status) == ("cancelled", "cancelled")
    assert reply_of(cancelled) == "before "

    for process in desk.cluster.everything:
        process.kill()
    desk.decide(desk.action_of(last), "approve")
    desk.cluster.start_web()
    desk.cluster.start_worker()
    desk.until(lambda: listens(desk.cluster.ports[-1]), "the web listens")
    desk.cluster.start_plugin(1)
    desk.wait(last, "completed")
    assert desk.executions(last) == {"8": 1}
    check_a_runner_that_cannot_resume(desk)


def check_a_runner_that_cannot_resume(desk):
    """It gets the decision with the next message that needs the same."""
    run = desk.send(3, "forgetful", "here")
    desk.wait(run, "failed")
    action = desk.action_of(run)
    assert (run.error_code, action.status) == ("approval_not_resumable", "open")
    desk.decide(action, "approve")
    again = desk.send(3, "forgetful", "here")
    desk.wait(again, "completed")
    assert desk.executions(run) == {}
    assert desk.executions(again) == {"3": 1}

    third = desk.send(3, "forgetful", "here")
    desk.decide(desk.action_of(third), "approve", scope="session")
    desk.wait(third, "completed")
    for place, wanted in (("here", "completed"), ("elsewhere", "failed")):
        other = desk.send(4, "forgetful", place)
        desk.wait(other, wanted)


def check_a_question(desk):
    """Its answer is the next event of its conversation."""
    run = desk.send("hello", "questioning", "asked")
    desk.wait(run, "completed")
    action = desk.action_of(run)
    assert (action.kind, action.form["type"]) == ("question", "form")
    values = {"name": "Ada", "action_id": "ok"}
    desk.decide(action, "respond", values=values)
    conversation = Conversation.objects.get(pk=run.conversation_id)
    answers = conversation.runs.exclude(pk=run.pk)
    desk.until(answers.exists, "the answer starts a run")
    (answered,) = answers
    desk.wait(answered, "completed")
    assert reply_of(answered) == "name-1 ok {'name': 'Ada'}"
    said = TranscriptItem.objects.get(
        conversation=conversation, item_type="interaction"
    )
    assert said.text == "Who are you?\nOK\nName: Ada"
