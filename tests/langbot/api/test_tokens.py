from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth import get_user_model

from langbot.core.models import (
    ApiToken,
    AuditLog,
    IdempotencyKey,
    Membership,
    ServiceAccount,
)
from langbot.core.tokens import create_api_token
from tests.factories import WorkspaceFactory
from tests.support.rest import admin_client_of, client_of

TOKENS = "/api/v1/tokens/"
ACCOUNTS = "/api/v1/service-accounts/"
AGENTS = "/api/v1/agents/"


@pytest.fixture
def boss(workspace):
    return admin_client_of(workspace)


def bearer(plain):
    from rest_framework.test import APIClient

    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {plain}")
    return client


def make(client, url=TOKENS, headers=None, **values):
    body = {"label": "ci", **values}
    answer = client.post(url, body, format="json", headers=headers or {})
    assert answer.status_code == 201, answer.content
    return answer


def test_a_token_is_shown_once_and_works(api_client, user):
    made = make(api_client)
    plain = made.json()["token"]
    assert made["Cache-Control"] == "no-store"
    row = ApiToken.objects.get(public_id=made.json()["id"])
    assert (row.user, row.workspace.slug, row.label) == (user, "default", "ci")
    assert bearer(plain).get(AGENTS).status_code == 200
    for answer in (api_client.get(TOKENS), api_client.get(f"{TOKENS}{row.public_id}/")):
        assert plain.encode() not in answer.content
        assert b"token_hash" not in answer.content
    assert plain not in str(list(AuditLog.objects.values()))


def test_a_repeat_gets_the_same_token_and_it_is_kept_sealed(api_client):
    headers = {"Idempotency-Key": "k"}
    first = make(api_client, headers=headers)
    again = make(api_client, headers=headers)
    assert first.json() == again.json()
    assert again["Idempotency-Replayed"] == "true"
    assert again["Cache-Control"] == "no-store"
    stored = str(IdempotencyKey.objects.get().answer)
    assert first.json()["token"] not in stored
    assert ApiToken.objects.filter(label="ci").count() == 1


def test_a_sealed_answer_ends_with_its_key(api_client, settings):
    from cryptography.fernet import Fernet

    headers = {"Idempotency-Key": "k"}
    first = make(api_client, headers=headers).json()["token"]
    key = Fernet.generate_key().decode()
    settings.LANGBOT = {**settings.LANGBOT, "SECRET_KEYS": [key]}
    assert make(api_client, headers=headers).json()["token"] != first


def test_a_revoked_token_opens_nothing_and_stays_listed(api_client):
    made = make(api_client).json()
    url = f"{TOKENS}{made['id']}/"
    assert api_client.delete(url).status_code == 204
    assert bearer(made["token"]).get(AGENTS).status_code == 401
    assert api_client.get(url).json()["revoked_at"] is not None
    assert api_client.delete(url).status_code == 204  # again changes nothing
    assert AuditLog.objects.filter(action="revoked").count() == 1
    listed = api_client.get(f"{TOKENS}?revoked=true").json()["results"]
    assert [row["id"] for row in listed] == [made["id"]]


def test_only_the_label_changes(api_client):
    made = make(api_client, scopes=["read"]).json()
    url = f"{TOKENS}{made['id']}/"
    assert api_client.patch(url, {"label": "new"}, format="json").status_code == 200
    assert api_client.get(url).json()["label"] == "new"
    api_client.patch(url, {"scopes": ["write"]}, format="json")
    assert ApiToken.objects.get(public_id=made["id"]).scopes == ["read"]


def test_tokens_of_others_do_not_exist(api_client, make_client, workspace):
    other = make(make_client(workspace, "other")).json()
    url = f"{TOKENS}{other['id']}/"
    assert api_client.get(url).status_code == 404
    assert api_client.delete(url).status_code == 404
    ids = [row["id"] for row in api_client.get(TOKENS).json()["results"]]
    assert other["id"] not in ids


def test_own_tokens_of_another_workspace_do_not_exist(api_client, user):
    elsewhere = WorkspaceFactory.create(slug="elsewhere")
    elsewhere.memberships.create(user=user)
    token, _ = create_api_token(user, elsewhere, "there")
    assert api_client.get(f"{TOKENS}{token.public_id}/").status_code == 404


@pytest.mark.parametrize(
    "values",
    [
        {"label": ""},
        {"label": "x" * 101},
        {"scopes": ["all"]},
        {"scopes": "read"},
        {"expires_at": "2001-01-01T00:00:00Z"},
        {"expires_at": "soon"},
        {"workspace": "other"},
        {"user": 1},
    ],
)
def test_wrong_fields_are_refused(api_client, values):
    body = {"label": "ci", **values}
    answer = api_client.post(TOKENS, body, format="json")
    if values == {"workspace": "other"}:  # read-only: it is the caller's
        assert answer.json()["workspace"] == "default"
    else:
        assert answer.status_code == 400, answer.content


def test_a_token_gives_no_more_than_it_has(user, workspace):
    writer = client_of(user, workspace, scopes=["write"])
    assert make(writer, scopes=["read"]).status_code == 201
    assert make(writer, scopes=["write"]).status_code == 201
    soon = datetime.now(UTC) + timedelta(hours=1)
    brief = client_of(user, workspace, expires_at=soon)
    for expires in (None, (soon + timedelta(hours=1)).isoformat()):
        body = {"label": "x", "expires_at": expires}
        refused = brief.post(TOKENS, body, format="json")
        assert refused.status_code == 400
        assert "expires_at" in refused.json()["errors"]
    earlier = (soon - timedelta(minutes=5)).isoformat()
    assert make(brief, expires_at=earlier).status_code == 201


def test_a_reading_token_makes_none(user, workspace):
    reader = client_of(user, workspace, scopes=["read"])
    answer = reader.post(TOKENS, {"label": "x"}, format="json")
    assert answer.status_code == 403


# Service accounts


def open_account(boss, **values):
    body = {"name": "deploy", "groups": ["viewers"], **values}
    answer = boss.post(ACCOUNTS, body, format="json")
    assert answer.status_code == 201, answer.content
    return answer.json()


def test_a_service_account_has_tokens_and_no_password(boss, workspace, agent):
    account = open_account(boss, description="CI")
    assert account["groups"] == ["viewers"]
    row = ServiceAccount.objects.get()
    assert not row.user.has_usable_password()
    url = f"{ACCOUNTS}{account['id']}/tokens/"
    made = make(boss, url, label="ci").json()
    program = bearer(made["token"])
    assert program.get(AGENTS).status_code == 200
    assert program.post(AGENTS, {}, format="json").status_code == 403
    listed = boss.get(url).json()["results"]
    assert [one["id"] for one in listed] == [made["id"]]
    assert "token" not in listed[0]
    assert boss.delete(f"{url}{made['id']}/").status_code == 204
    assert program.get(AGENTS).status_code == 401


def test_a_closed_account_opens_nothing(boss):
    account = open_account(boss)
    token = make(boss, f"{ACCOUNTS}{account['id']}/tokens/").json()["token"]
    assert boss.delete(f"{ACCOUNTS}{account['id']}/").status_code == 204
    assert bearer(token).get(AGENTS).status_code == 401
    assert boss.get(ACCOUNTS).json()["results"] == []


@pytest.mark.parametrize(
    "values",
    [{"name": "a b"}, {"name": ""}, {"groups": ["no such"]}, {"groups": "viewers"}],
)
def test_wrong_accounts_are_refused(boss, values):
    body = {"name": "deploy", **values}
    assert boss.post(ACCOUNTS, body, format="json").status_code == 400
    assert not ServiceAccount.objects.exists()


def test_a_name_is_taken_once(boss):
    open_account(boss)
    again = boss.post(ACCOUNTS, {"name": "deploy"}, format="json")
    assert again.status_code == 400
    assert "exists" in str(again.json()["errors"])


def test_only_admins_of_the_workspace_keep_accounts(api_client, user, workspace, boss):
    account = open_account(boss)
    url = f"{ACCOUNTS}{account['id']}/"
    for answer in (
        api_client.get(ACCOUNTS),
        api_client.post(ACCOUNTS, {"name": "x"}, format="json"),
        api_client.delete(url),
        api_client.post(f"{url}tokens/", {"label": "x"}, format="json"),
    ):
        assert answer.status_code == 403
    Membership.objects.filter(user=user).update(role="admin")
    assert api_client.get(ACCOUNTS).status_code == 200


def test_nobody_lifts_themselves_by_an_account(workspace, boss, make_client):
    keeper = make_client(workspace, "keeper", groups=["viewers"])
    user = get_user_model().objects.get(username="keeper")
    Membership.objects.filter(user=user).update(role="admin")
    body = {"name": "mine", "groups": ["admins"]}
    assert keeper.post(ACCOUNTS, body, format="json").status_code == 403
    strong = open_account(boss, groups=["admins"])
    url = f"{ACCOUNTS}{strong['id']}/tokens/"
    assert keeper.post(url, {"label": "x"}, format="json").status_code == 403


def test_accounts_of_another_workspace_do_not_exist(boss):
    other = admin_client_of(WorkspaceFactory.create(slug="elsewhere"), "their boss")
    account = open_account(other)
    url = f"{ACCOUNTS}{account['id']}/"
    for path in (url, f"{url}tokens/"):
        assert boss.get(path).status_code == 404
    assert boss.delete(url).status_code == 404
    assert boss.post(f"{url}tokens/", {"label": "x"}, format="json").status_code == 404
