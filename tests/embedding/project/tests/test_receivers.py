from langbot_testing import assert_reply
from shop.models import FinishedRun


def test_finished_runs_are_noted(send_message, agent_factory):
    reply = send_message("hello", agent=agent_factory())
    assert_reply(reply)
    assert FinishedRun.objects.get().run_id == reply.run.public_id
