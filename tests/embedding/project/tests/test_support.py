import pytest

from langbot_testing import assert_reply
from runners.sdk import results
from shop.greeter import Greeter
from shop.models import Customer
from shop.support import answer


@pytest.fixture
def support(agent_factory):
    return agent_factory("support")


def test_the_agent_is_polite(send_message, fake_runner, support):
    fake_runner.answers(Greeter())
    assert_reply(send_message("Ada", agent=support), "Good day, Ada!")


def test_a_failure_is_told_to_the_bot(
    send_message, fake_runner, support, binding_factory, bot_factory
):
    binding_factory(support, "bot", scope_ref="web")
    fake_runner.answers([results.failed("shop.closed", "We are closed.")])
    reply = send_message("hello?", bot=bot_factory("web"), conversation="door")
    assert_reply(reply, status="failed")
    [delivery] = reply.deliveries
    assert "shop.closed" in delivery.payload["text"]


@pytest.mark.django_db(transaction=True)
def test_a_customer_is_answered_under_their_name(fake_runner, support):
    fake_runner.answers("Good day!")
    customer = Customer.objects.create(email="ada@example.org")
    assert answer(customer, "hello") == "Good day!"
    [context] = fake_runner.contexts
    assert context.actor.actor_id == f"user:{customer.pk}"
