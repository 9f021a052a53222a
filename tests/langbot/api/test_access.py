from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth import get_user_model
from rest_framework.test import APIClient

from langbot.core.models import ApiToken
from langbot.core.tokens import create_api_token
from langbot.lib.secrets import hash_token
from tests.factories import AgentFactory, WorkspaceFactory

AGENTS = "/api/v1/agents/"


def call(header):
    return APIClient().get(AGENTS, headers={"Authorization": header})


@pytest.fixture
def token(user, workspace):
    return create_api_token(user, workspace, "tests")


@pytest.mark.parametrize("scheme", ["Bearer", "Token", "bearer"])
def test_both_schemes_authenticate(token, scheme):
    assert call(f"{scheme} {token[1]}").status_code == 200


@pytest.mark.parametrize(
    "header", ["Bearer nonsense", "Bearer ", "Bearer", "Token \x01", "Bearer ü"]
)
def test_a_wrong_token_is_refused(db, header):
    response = call(header)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert response.json()["code"] == "authentication_failed"


def test_the_token_is_stored_as_a_hash_only(token):
    row, plain = token
    row.refresh_from_db()
    assert row.token_hash == hash_token(plain)
    assert plain not in str(row.__dict__.values())
    assert plain.startswith(row.prefix)


@pytest.mark.parametrize("change", ["revoked", "expired", "inactive user"])
def test_a_token_ends(token, change):
    row, plain = token
    past = datetime.now(UTC) - timedelta(seconds=1)
    if change == "inactive user":
        get_user_model().objects.filter(pk=row.user_id).update(is_active=False)
    else:
        name = {"revoked": "revoked_at", "expired": "expires_at"}[change]
        ApiToken.objects.filter(pk=row.pk).update(**{name: past})
    assert call(f"Bearer {plain}").status_code == 401


def test_use_is_noted_at_most_once_a_minute(token, django_assert_num_queries):
    row, plain = token
    call(f"Bearer {plain}")
    row.refresh_from_db()
    first = row.last_used_at
    assert first is not None
    call(f"Bearer {plain}")
    row.refresh_from_db()
    assert row.last_used_at == first
    old = first - timedelta(seconds=61)
    ApiToken.objects.filter(pk=row.pk).update(last_used_at=old)
    call(f"Bearer {plain}")
    row.refresh_from_db()
    assert row.last_used_at > old


def test_another_workspace_does_not_exist(api_client, agent, foreign_agent):
    listed = api_client.get(AGENTS).json()["results"]
    assert [row["id"] for row in listed] == [str(agent.public_id)]
    foreign = f"{AGENTS}{foreign_agent.public_id}/"
    assert api_client.get(foreign).status_code == 404
    change = api_client.patch(foreign, {"name": "Mine"}, format="json")
    assert change.status_code == 404
    assert api_client.delete(foreign).status_code == 404
    foreign_agent.refresh_from_db()
    assert foreign_agent.name != "Mine"


def test_people_without_a_membership_see_nothing(make_client, workspace, agent):
    client = make_client(workspace, "stranger", member=False)
    assert client.get(AGENTS).json()["results"] == []
    assert client.get(f"{AGENTS}{agent.public_id}/").status_code == 404
    body = {"slug": "x", "name": "X", "runner": "plugin:a/b/c"}
    assert client.post(AGENTS, body, format="json").status_code == 403


def test_leaving_the_workspace_closes_its_tokens(make_client, workspace, agent):
    client = make_client(workspace, "leaver")
    assert len(client.get(AGENTS).json()["results"]) == 1
    workspace.memberships.filter(user__username="leaver").delete()
    assert client.get(AGENTS).json()["results"] == []


def test_scopes_limit_a_token(make_client, workspace, agent):
    reader = make_client(workspace, "reader", scopes=["read"])
    assert reader.get(AGENTS).status_code == 200
    refused = reader.delete(f"{AGENTS}{agent.public_id}/")
    assert refused.status_code == 403
    assert refused.json()["code"] == "insufficient_scope"
    writer = make_client(workspace, "writer", scopes=["write"])
    assert writer.delete(f"{AGENTS}{agent.public_id}/").status_code == 204


def test_a_session_works_in_the_default_workspace(user, agent):
    other = AgentFactory.create(workspace=WorkspaceFactory.create(slug="another"))
    other.workspace.memberships.create(user=user)
    client = APIClient()
    client.force_login(user)
    listed = client.get(AGENTS).json()["results"]
    assert [row["slug"] for row in listed] == [agent.slug]


def test_a_session_needs_the_csrf_token_to_write(user):
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(user)
    body = {"slug": "x", "name": "X", "runner": "plugin:a/b/c"}
    assert client.post(AGENTS, body, format="json").status_code == 403
