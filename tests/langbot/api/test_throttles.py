import logging
import time

import pytest
from django.contrib.auth import get_user_model
from rest_framework.settings import api_settings

from langbot.core.throttling import read_rate
from langbot.lib.redis import quick_client
from tests.factories import AgentFactory
from tests.support.rest import client_of

AGENTS = "/api/v1/agents/"


@pytest.fixture
def rates(monkeypatch):
    """Set rates: `rates(writes="3/min")`."""

    def change(**given):
        monkeypatch.setattr(api_settings, "DEFAULT_THROTTLE_RATES", given)
        for name in given:
            key = f"*rate:{name}:*"
            for found in quick_client().scan_iter(key):
                quick_client().delete(found)

    return change


def write(client, agent):
    url = f"{AGENTS}{agent.public_id}/"
    return client.patch(url, {"name": "X"}, format="json")


def test_writes_are_counted_down_and_then_refused(api_client, agent, rates):
    rates(writes="3/hour")
    answers = [write(api_client, agent) for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    left = [one["RateLimit"].split(";")[1] for one in answers]
    assert left == ["r=2", "r=1", "r=0", "r=0"]
    assert answers[0]["RateLimit-Policy"] == '"writes";q=3;w=3600'
    refused = answers[3]
    assert refused.json()["code"] == "throttled"
    assert refused["Content-Type"] == "application/problem+json"
    assert 1 <= int(refused["Retry-After"]) <= 1200


def test_reading_is_free(api_client, agent, rates):
    rates(writes="1/hour")
    answers = [api_client.get(AGENTS) for _ in range(5)]
    assert {one.status_code for one in answers} == {200}
    assert not answers[0].has_header("RateLimit")


def test_messages_have_a_rate_of_their_own(api_client, agent, rates):
    rates(messages="1/hour", writes="100/hour")
    url = f"{AGENTS}{agent.public_id}/test/"
    first = api_client.post(url, {"text": "a"}, format="json")
    assert first.status_code == 201
    assert first["RateLimit"].startswith('"messages";r=0')
    event = {"type": "message.received"}
    assert api_client.post(url, {"text": "b"}, format="json").status_code == 429
    sent = api_client.post("/api/v1/events/", event, format="json")
    assert sent.status_code == 429
    assert write(api_client, agent).status_code == 200


def test_a_rate_is_one_users_over_all_their_tokens(
    api_client, user, workspace, agent, rates
):
    rates(writes="1/hour")
    assert write(api_client, agent).status_code == 200
    assert write(client_of(user, workspace), agent).status_code == 429
    other = get_user_model().objects.create_superuser("other")
    workspace.memberships.create(user=other)
    assert write(client_of(other, workspace), agent).status_code == 200


def test_no_rate_means_no_limit(api_client, agent, rates):
    rates(writes="")
    answer = write(api_client, agent)
    assert answer.status_code == 200
    assert not answer.has_header("RateLimit")


def test_a_bucket_fills_again(api_client, agent, rates):
    rates(writes="1/s")
    codes: set[int] = set()

    end = time.monotonic() + 3
    while time.monotonic() < end and codes != {200, 429}:
        codes.add(write(api_client, agent).status_code)
    time.sleep(1.1)
    assert write(api_client, agent).status_code == 200


def test_without_redis_everybody_passes_and_the_log_says_so(
    api_client, agent, rates, settings, caplog
):
    rates(writes="1/hour")
    settings.LANGBOT = {**settings.LANGBOT, "REDIS_URL": "redis://127.0.0.1:1/0"}
    quick_client.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            codes = {write(api_client, agent).status_code for _ in range(3)}
    finally:
        quick_client.cache_clear()
    assert codes == {200}
    assert "not checked" in caplog.text


@pytest.mark.parametrize("text", ["x", "1", "/min", "0/min", "5/fortnight", "-1/s"])
def test_a_wrong_rate_is_an_error(text):
    with pytest.raises(ValueError, match=r"rate|invalid literal"):
        read_rate(text)


def test_rates_read():
    assert read_rate("600/min") == (600, 60)
    assert read_rate("1/s") == (1, 1)
    assert read_rate("") is None
    assert read_rate(None) is None


def test_another_agent_counts_too(api_client, workspace, rates):
    rates(writes="2/hour")
    agents = [AgentFactory.create(workspace=workspace) for _ in range(3)]
    assert [write(api_client, one).status_code for one in agents] == [200, 200, 429]
