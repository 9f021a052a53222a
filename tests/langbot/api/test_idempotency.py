import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from agents.models import Agent
from langbot.core.models import IdempotencyKey
from langbot.core.retention import purge_idempotency_keys

AGENTS = "/api/v1/agents/"
KEY = {"Idempotency-Key": "order-1"}


def body(**values):
    return {"slug": "a", "name": "A", "runner": "plugin:a/b/c", **values}


def post(client, content, headers=KEY, url=AGENTS):
    return client.post(url, content, format="json", headers=headers)


def age(**distance):
    created_at = datetime.now(UTC) - timedelta(**distance)
    IdempotencyKey.objects.update(created_at=created_at)


def test_a_repeat_gets_the_first_answer(api_client):
    first = post(api_client, body())
    again = post(api_client, body())
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert first["ETag"] == again["ETag"]
    assert again["Idempotency-Replayed"] == "true"
    assert not first.has_header("Idempotency-Replayed")
    assert Agent.objects.count() == 1


def test_another_body_under_the_key_is_refused(api_client):
    post(api_client, body())
    refused = post(api_client, body(name="B"))
    assert refused.status_code == 422
    assert refused.json()["code"] == "idempotency_key_reused"


def test_another_address_under_the_key_is_refused(api_client):
    post(api_client, body())
    assert post(api_client, body(), url="/api/v1/bindings/").status_code == 422


def test_a_refused_request_may_be_sent_again_corrected(api_client):
    assert post(api_client, body(name="")).status_code == 400
    assert post(api_client, body()).status_code == 201


def test_a_request_under_way_is_409_with_retry_after(api_client):
    post(api_client, body())
    IdempotencyKey.objects.update(status_code=None, answer=None)
    busy = post(api_client, body())
    assert busy.status_code == 409
    assert busy.json()["code"] == "idempotency_in_progress"
    assert int(busy["Retry-After"]) > 0


def test_a_key_whose_process_died_works_again(api_client):
    post(api_client, body())
    IdempotencyKey.objects.update(status_code=None, answer=None)
    Agent.objects.all().delete()
    age(seconds=61)
    assert post(api_client, body()).status_code == 201


def test_a_key_lasts_24_hours(api_client):
    post(api_client, body())
    age(hours=23, minutes=59)
    assert post(api_client, body(name="B")).status_code == 422
    age(hours=24)
    assert post(api_client, body(slug="b")).status_code == 201


def test_keys_belong_to_their_sender(api_client, make_client, workspace):
    post(api_client, body())
    other = make_client(workspace, "other")
    assert post(other, body(slug="b")).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 201, "ü", "a\tb"])
def test_a_wrong_key_is_refused(api_client, key):
    refused = post(api_client, body(), headers={"Idempotency-Key": key})
    assert refused.status_code == 400
    assert "Idempotency-Key" in refused.json()["errors"]


def test_old_keys_are_purged(api_client):
    post(api_client, body())
    assert purge_idempotency_keys() == 0
    age(hours=25)
    assert purge_idempotency_keys() == 1


@pytest.mark.django_db(transaction=True)
def test_of_equal_requests_at_once_one_works(api_client):
    """Ten rounds of eight requests: one row each, and only 201 or 409 answers."""
    for number in range(10):
        answers: list[Any] = []
        barrier = threading.Barrier(8)
        arguments = (api_client, body(slug=f"s{number}"), number, barrier, answers)
        threads = [threading.Thread(target=_send, args=arguments) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 8
        assert {answer.status_code for answer in answers} <= {201, 409}
        created = {a.json()["id"] for a in answers if a.status_code == 201}
        assert len(created) == 1
    assert Agent.objects.count() == 10


def _send(client, content, number, barrier, answers):
    barrier.wait()
    try:
        answers.append(post(client, content, {"Idempotency-Key": f"race-{number}"}))
    finally:
        connection.close()
