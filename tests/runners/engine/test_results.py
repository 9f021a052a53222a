"""What a runner's results amount to (LB-52..LB-63)."""

from uuid import uuid4

import pytest

from runners.access import Access
from runners.choices import RunStatus
from runners.engine.results import ResultLog
from runners.engine.snapshot import RunFacts


@pytest.fixture
def log():
    return ResultLog(
        RunFacts(
            pk=1,
            public_id=uuid4(),
            conversation_id=1,
            conversation_public_id=str(uuid4()),
            workspace_id=1,
            runner_id="plugin:a/b/c",
            event_type="message.received",
            access=Access(state_scopes=["conversation"]),
            scope_keys={"conversation": "conversation:v2:abc"},
            snapshot={},
        )
    )


class Feed:
    def __init__(self, log):
        self.log, self.sequence = log, 0

    def __call__(self, kind, sequence=None, run_id=None, usage=None, **data):
        self.sequence = sequence if sequence is not None else self.sequence + 1
        raw = {"run_id": run_id, "type": kind, "data": data, "usage": usage}
        self.log.apply({**raw, "sequence": self.sequence}, 100)

    def delta(self, text, **more):
        self("message.delta", chunk={"role": "assistant", "content": text}, **more)


@pytest.fixture
def feed(log):
    return Feed(log)


def kinds(log):
    return [str(event.type) for event in log.events]


def warnings(log):
    return [event.data["code"] for event in log.events if event.type == "warning"]


def test_consecutive_deltas_become_one_event(log, feed):
    for text in ("Hello", " ", "world"):
        feed.delta(text)
    assert [event.data for event in log.events] == [{"text": "Hello world"}]
    assert log.events[0].runner_sequence == 3


def test_only_the_new_part_of_cumulative_text_is_kept(log, feed):
    for text in ("He", "Hello", "Hello world"):
        feed.delta(text)
    assert log.events[0].data == {"text": "Hello world"}


def test_open_text_is_completed_at_the_end(log, feed):
    feed.delta("Hi")
    feed("run.completed", finish_reason="stop", usage={"total_tokens": 3})
    assert kinds(log) == ["message.delta", "message.completed"]
    assert (log.ending.status, log.ending.reply.text) == (RunStatus.COMPLETED, "Hi")
    assert log.ending.usage == {"total_tokens": 3}


def test_a_completed_message_and_its_repeat_are_delivered_once(log, feed):
    said = {"role": "assistant", "content": "Hi"}
    feed.delta("Hi")
    feed("message.completed", message=said)
    feed("run.completed", finish_reason="stop", message=said)
    assert kinds(log).count("message.completed") == 1
    assert log.ending.reply.text == "Hi"


def test_a_different_last_message_is_a_second_one(log, feed):
    feed("message.completed", message={"role": "assistant", "content": "One"})
    last = {"role": "assistant", "content": "Two"}
    feed("run.completed", finish_reason="stop", message=last)
    assert log.ending.reply.text == "One\n\nTwo"


def test_success_without_output_is_a_failure(log, feed):
    feed("run.completed", finish_reason="stop")
    assert (log.ending.status, log.ending.code) == (
        RunStatus.FAILED,
        "runner.empty_output",
    )


def test_an_event_that_wants_no_reply_may_be_answered_with_nothing(log, feed):
    log.facts.event_type = "group.member_joined"
    feed("run.completed", finish_reason="stop")
    assert log.ending.status == RunStatus.COMPLETED


def test_text_before_a_failure_is_kept_and_marked(log, feed):
    feed.delta("Half an ans")
    feed("run.failed", error="model gone", code="model.error", retryable=True)
    assert (log.ending.code, log.ending.retryable) == ("model.error", True)
    assert (log.ending.reply.text, log.ending.reply.complete) == ("Half an ans", False)


@pytest.mark.parametrize(
    ("code", "cancelling", "status"),
    [
        ("cancelled", True, RunStatus.CANCELLED),
        ("cancelled", False, RunStatus.FAILED),
        ("runner.timeout", False, RunStatus.TIMEOUT),
    ],
)
def test_codes_decide_the_status(log, feed, code, cancelling, status):
    log.is_cancelling = cancelling
    feed("run.failed", error="x", code=code)
    assert log.ending.status == status


def test_a_repeated_sequence_is_applied_once(log, feed):
    feed.delta("a")
    feed.delta("b", sequence=1)
    feed.delta("c", sequence=2)
    assert log.events[0].data == {"text": "ac"}
    assert warnings(log) == []


def test_a_gap_is_warned_of_and_nothing_waits(log, feed):
    feed.delta("a")
    feed.delta("b", sequence=5)
    assert warnings(log) == ["sequence_gap"]
    assert log.last_sequence == 5


def test_a_result_of_another_run_is_refused(log, feed):
    feed.delta("stolen", run_id=str(uuid4()))
    assert warnings(log) == ["run_id_mismatch"]
    assert log.reply(complete=True) is None


def test_an_unknown_type_is_kept_without_effect(log, feed):
    feed("vendor.custom", answer=42)
    assert log.events[0].data == {
        "code": "unknown_result_type",
        "detail": "unknown result type vendor.custom",
        "result_type": "vendor.custom",
        "data": {"answer": 42},
    }


def test_an_invalid_result_is_dropped_with_a_warning(log, feed):
    feed("message.delta", chunk="not a chunk")
    assert warnings(log) == ["invalid_result"]
    assert log.ending is None


def test_endless_garbage_ends_the_run(log, feed):
    for _ in range(101):
        feed("message.delta", chunk="not a chunk")
    assert log.ending.code == "runner.protocol_error"


def test_state_outside_the_granted_scopes_is_refused(log, feed):
    feed("state.updated", scope="actor", key="k", value=1)
    assert warnings(log) == ["state_refused"]
    assert log.states == []


def test_state_is_written_with_the_batch(log, feed):
    feed("state.updated", scope="conversation", key="k", value={"a": 1})
    assert [(one.key, one.value) for one in log.states] == [("k", {"a": 1})]
    assert kinds(log) == ["state.updated"]


def test_state_over_its_limit_is_refused(log, feed):
    feed("state.updated", scope="conversation", key="k", value="x" * (256 * 1024))
    assert warnings(log) == ["state_refused"]


def test_nothing_counts_after_the_end(log, feed):
    feed.delta("Hi")
    feed("run.completed", finish_reason="stop")
    before = len(log.events)
    feed.delta("more")
    feed("run.failed", error="late")
    assert (len(log.events), log.ending.status) == (before, RunStatus.COMPLETED)


def test_a_stream_that_just_ends_is_completed_when_something_was_said(log, feed):
    feed.delta("Hi")
    log.end_of_stream()
    assert log.ending.status == RunStatus.COMPLETED


def test_a_stream_that_ends_silently_is_a_failure(log):
    log.end_of_stream()
    assert log.ending.code == "runner.empty_output"


def test_inline_payloads_do_not_enter_the_ledger(log, feed):
    image = {"type": "image_base64", "image_base64": "aGVsbG8="}
    feed("message.completed", message={"role": "assistant", "content": [image]})
    assert "aGVsbG8=" not in str(log.events[0].data)


def test_all_events_of_a_run_share_one_budget(log, feed, settings):
    settings.LANGBOT = {**settings.LANGBOT, "LIMITS": {"run_event_bytes": 10_000}}
    for number in range(20):
        feed("tool.call.completed", tool_call_id=str(number), result="x" * 1000)
    assert log.ending.status == RunStatus.FAILED
    assert log.ending.code == "too_large"
    assert len(log.events) == 9


def test_reasoning_spends_the_budget_too(log, feed, settings):
    settings.LANGBOT = {**settings.LANGBOT, "LIMITS": {"run_event_bytes": 10_000}}
    for _ in range(20):
        feed("reasoning.delta", text="x" * 1000)
    assert log.ending.code == "too_large"
    assert sum(len(event.data["text"]) for event in log.events) <= 10_000


def test_a_last_message_over_the_budget_does_not_complete(log, feed, settings):
    settings.LANGBOT = {**settings.LANGBOT, "LIMITS": {"run_event_bytes": 1000}}
    feed("run.completed", message={"role": "assistant", "content": "x" * 2000})
    assert log.ending.status == RunStatus.FAILED
    assert log.ending.code == "too_large"


def test_a_file_that_is_not_kept_is_no_output(log, feed):
    feed("artifact.created", artifact_type="file", content_base64="eA==")
    feed("run.completed")
    assert warnings(log) == ["artifact_refused"]
    assert log.ending.code == "runner.empty_output"
