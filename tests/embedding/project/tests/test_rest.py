"""REST under the project's prefix, whatever its own REST settings are."""

import pytest

from langbot.core.tokens import create_api_token
from shop.models import Customer


@pytest.fixture
def headers(workspace_factory):
    customer = Customer.objects.create_superuser("ada@example.org", "a password")
    workspace = workspace_factory()
    workspace.memberships.create(user=customer)
    _, token = create_api_token(customer, workspace, "tests")
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.django_db(transaction=True)
def test_a_message_is_answered(client, headers, fake_runner, agent_factory):
    agent = agent_factory()
    url = f"/ai/api/v1/agents/{agent.public_id}/test/?wait=10"
    answer = client.post(
        url, {"text": "hello"}, content_type="application/json", headers=headers
    )
    assert answer.json()["reply"]["text"] == "hello"
    run_id = answer.json()["run_id"]
    assert answer.headers["Location"].endswith(f"/ai/api/v1/runs/{run_id}/")


@pytest.mark.django_db
def test_refusals_are_problems(client, headers, settings):
    answer = client.get("/ai/api/v1/runs/")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    problem = answer.json()
    prefix = settings.LANGBOT["PUBLIC_URL"]
    assert problem["type"] == f"{prefix}/problems/not_authenticated"
    explained = client.get(f"/ai/problems/{problem['code']}")
    assert explained.status_code == 200


@pytest.mark.django_db
def test_the_document_has_our_views_only(client, headers):
    answer = client.get("/ai/api/v1/schema/?format=json", headers=headers)
    paths = answer.json()["paths"]
    assert "/ai/api/v1/agents/" in paths
    assert all(path.startswith("/ai/api/v1/") for path in paths)


@pytest.mark.django_db
def test_the_chat_page_knows_its_prefix(client, bot_factory):
    bot_factory("web")
    page = client.get("/ai/chat/web/").content.decode()
    assert "/ai/ws/chat/web/" in page
