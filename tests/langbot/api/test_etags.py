import threading
from typing import Any

import pytest
from django.db import connection

AGENTS = "/api/v1/agents/"


@pytest.fixture
def url(agent):
    return f"{AGENTS}{agent.public_id}/"


def patch(client, url, tag, **values):
    headers = {"If-Match": tag} if tag else {}
    return client.patch(url, values, format="json", headers=headers)


def test_the_tag_changes_with_the_object(api_client, url):
    first = api_client.get(url)["ETag"]
    assert api_client.get(url)["ETag"] == first
    changed = patch(api_client, url, None, name="Other")
    assert changed["ETag"] != first
    assert api_client.get(url)["ETag"] == changed["ETag"]


def test_a_patch_of_an_old_state_is_412(api_client, url):
    tag = api_client.get(url)["ETag"]
    assert patch(api_client, url, tag, name="One").status_code == 200
    stale = patch(api_client, url, tag, name="Two")
    assert stale.status_code == 412
    assert stale.json()["code"] == "precondition_failed"
    assert api_client.get(url).json()["name"] == "One"


def test_any_state_matches_a_star(api_client, url):
    assert patch(api_client, url, "*", name="One").status_code == 200
    assert patch(api_client, url, '"x", *', name="One").status_code == 412


def test_an_unchanged_object_is_304(api_client, url):
    tag = api_client.get(url)["ETag"]
    response = api_client.get(url, headers={"If-None-Match": tag})
    assert response.status_code == 304
    assert response.content == b""
    assert response["ETag"] == tag


@pytest.mark.django_db(transaction=True)
def test_of_two_patches_of_one_state_one_wins(api_client, url):
    for round_number in range(10):
        tag = api_client.get(url)["ETag"]
        codes: list[Any] = []

        def send(name, tag=tag, codes=codes):
            try:
                codes.append(patch(api_client, url, tag, name=name).status_code)
            finally:
                connection.close()

        names = [f"{round_number} {number}" for number in range(4)]
        threads = [threading.Thread(target=send, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(codes) == [200, 412, 412, 412]
