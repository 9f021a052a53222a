"""What teams get for their tests: real admission and ledger, no process, no Redis."""

import pytest

from langbot_testing import assert_reply
from runners import signals
from runners.choices import RunStatus
from runners.models import AgentRun, EventLog
from runners.public import dispatch_event, start_run, wait_for_run
from runners.sdk import Runner, results
from runners.sdk.api import HostCallError


@pytest.fixture(autouse=True)
def no_redis(settings):
    """Nothing listens there."""
    settings.LANGBOT = {**settings.LANGBOT, "REDIS_URL": "redis://127.0.0.1:1/0"}


@pytest.fixture
def support(agent_factory, binding_factory):
    agent = agent_factory("support")
    binding_factory(agent)
    return agent


def test_the_bound_agent_repeats_what_it_is_told(send_message, support):
    reply = send_message("hello")
    assert_reply(reply, "hello")
    assert reply.run.agent == support
    assert [event.type for event in reply.events] == [
        "run.queued",
        "run.started",
        "message.completed",
        "run.completed",
    ]


def test_scripts_answer_in_order_and_the_last_one_stays(
    send_message, fake_runner, support
):
    fake_runner.answers("first", lambda context: f"{context.input.text}?")
    assert_reply(send_message("a", conversation="room"), "first")
    assert_reply(send_message("b", conversation="room"), "b?")
    assert_reply(send_message("c", conversation="room"), contains="c")
    assert (
        len({context.conversation.conversation_id for context in contexts(fake_runner)})
        == 1
    )


def contexts(fake_runner):
    assert len(fake_runner.contexts) == 3
    return fake_runner.contexts


def test_a_runner_of_the_team_is_run_with_the_agents_configuration(
    send_message, fake_runner, agent_factory
):
    class Greeter(Runner):
        async def run(self, ctx):
            yield results.delta(ctx.config["greeting"])
            yield results.delta(f", {ctx.text}")

    fake_runner.answers(Greeter())
    agent = agent_factory(runner_config={"greeting": "Good day"})
    assert_reply(send_message("Ada", agent=agent), "Good day, Ada")


def test_a_runner_has_no_host_to_ask(send_message, fake_runner, support):
    class Curious(Runner):
        async def run(self, ctx):
            try:
                await ctx.api.state_get("mood")
            except HostCallError as error:
                yield results.completed(f"no mood: {error.code}")

    fake_runner.answers(Curious())
    assert_reply(send_message(), contains="no mood: unavailable")


def test_results_are_checked_as_those_of_a_plugin(send_message, fake_runner, support):
    fake_runner.answers(
        [results.Result("no.such.result", {}), results.failed("runner.sad", "no")]
    )
    reply = send_message()
    assert_reply(reply, status="failed")
    assert reply.error["code"] == "runner.sad"
    assert "warning" in [event.type for event in reply.events]
    with pytest.raises(AssertionError, match=r"runner\.sad"):
        assert_reply(reply)


def test_a_defect_of_a_script_fails_the_test(send_message, fake_runner, support):
    fake_runner.answers(lambda context: context.no_such_thing)
    with pytest.raises(AttributeError):
        send_message()


def test_nobody_answers_without_a_binding(send_message, agent_factory):
    agent_factory()
    reply = send_message()
    assert_reply(reply, status="ignored")
    assert reply.run is None
    assert reply.reason


def test_what_waits_is_answered_in_its_turn(run_pending, support, fake_runner):
    first = start_run("support", "one", conversation="room")
    second = start_run(support, "two", conversation="room")
    assert (first.status, second.status) == ("started", "queued")
    assert run_pending() == 2
    assert wait_for_run(second).text == "two"


def test_replies_to_a_bot_wait_to_be_delivered(
    send_message, bot_factory, binding_factory, agent_factory
):
    bot = bot_factory("shop")
    binding_factory(agent_factory(), "bot", scope_ref="shop")
    reply = send_message("hi", bot=bot, conversation="customer-1")
    [delivery] = reply.deliveries
    assert (delivery.status, delivery.payload["text"]) == ("pending", "hi")


@pytest.mark.django_db(transaction=True)
def test_after_a_real_commit_a_run_is_over_at_once(fake_runner, support):
    accepted = dispatch_event("message.received", input={"text": "now"})
    assert AgentRun.objects.get().status == RunStatus.COMPLETED
    assert wait_for_run(accepted, timeout=0).text == "now"


def test_workspaces_are_apart(send_message, agent_factory, workspace_factory):
    elsewhere = workspace_factory("elsewhere")
    agent = agent_factory(workspace=elsewhere)
    assert_reply(send_message("hi", agent=agent), "hi")
    assert EventLog.objects.get(type="message.received").workspace == elsewhere


def test_signals_are_told_in_order(send_message, fake_runner, support, request):
    told = []
    for name in ("event_received", "run_started", "action_requested", "run_finished"):

        def receiver(sender, name=name, **arguments):
            told.append((name, arguments))

        signal = getattr(signals, name)
        signal.connect(receiver, weak=False)
        request.addfinalizer(lambda s=signal, r=receiver: s.disconnect(r))
    asked = results.action_requested("interaction.requested", {"question": "why?"})
    fake_runner.answers([asked, results.run_completed()])
    reply = send_message()
    names = [name for name, _ in told]
    assert names == [
        "event_received",
        "run_started",
        "action_requested",
        "run_finished",
    ]
    run_id = reply.run.public_id
    assert all(arguments["run_id"] == run_id for _, arguments in told)
    assert told[2][1]["action"] == "interaction.requested"
    assert told[3][1]["status"] == "completed"
