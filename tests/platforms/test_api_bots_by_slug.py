"""Bots by slug, and that an archived one is nowhere accepted by reference."""

from datetime import UTC, datetime

import pytest
from django.core.management import CommandError, call_command
from django.db import models

from langbot.core.models import AuditLog
from platforms.models import Bot
from runners.models import AgentRun, Conversation, EventLog
from tests.factories import AgentBindingFactory, BotFactory, WorkspaceFactory
from tests.support.rest import admin_client_of

BOTS = "/api/v1/bots/"
URL = f"{BOTS}by-slug/hook/"
SECRET = "a s3cret of the platform"
HOOK = {"name": "Hook", "adapter": "webhook", "config": {"secret": SECRET}}


@pytest.fixture
def client(workspace):
    return admin_client_of(workspace)


def put(client, status=200, **values):
    answer = client.put(URL, {**HOOK, **values}, format="json")
    assert answer.status_code == status, answer.content
    return answer.json()


def archived(workspace):
    bot = BotFactory.create(workspace=workspace, slug="hook", enabled=False)
    Bot.objects.update(archived_at=datetime.now(UTC))
    return bot


def name_bot(event, bot):
    """Make the recorded event one of that bot."""
    models.QuerySet(EventLog).filter(pk=event.pk).update(bot_id=bot.public_id)


def test_a_bot_is_created_and_read_by_its_slug(client):
    created = put(client, 201)
    assert created["slug"] == "hook"
    assert created["config"] == {"secret": "[redacted]", "url": ""}
    assert client.get(URL).json() == created
    assert client.get(f"{BOTS}by-slug/other/").status_code == 404
    assert SECRET not in str(list(AuditLog.objects.values()))


def test_the_same_again_changes_nothing(client):
    created, entries = put(client, 201), AuditLog.objects.count()
    assert put(client) == created
    assert put(client, config=created["config"]) == created  # the mask is the secret
    assert Bot.objects.get().secrets == {"secret": SECRET}
    assert AuditLog.objects.count() == entries


def test_what_is_not_named_gets_its_default(client):
    url = {"secret": SECRET, "url": "https://a.test/x"}
    created = put(client, 201, enabled=False, config=url)
    replaced = put(client, name="Another")
    assert replaced["id"] == created["id"]
    assert replaced["name"] == "Another"
    assert replaced["enabled"] is True
    assert replaced["config"] == {"secret": "[redacted]", "url": ""}
    missing = client.put(URL, {"name": "H", "adapter": "webhook"}, format="json")
    assert "secret" in str(missing.json()["errors"]["config"])
    assert "name" in client.put(URL, {"adapter": "web"}, format="json").json()["errors"]
    assert client.put(URL, [], format="json").status_code == 400


def test_a_replaced_bot_has_to_be_as_the_caller_saw_it(client):
    created = client.put(URL, HOOK, format="json")
    headers = {"If-Match": created["ETag"]}
    body = {**HOOK, "name": "Two"}
    assert client.put(URL, body, format="json", headers=headers).status_code == 200
    assert client.put(URL, HOOK, format="json", headers=headers).status_code == 412


def test_an_archived_bot_comes_back(client, workspace):
    bot = archived(workspace)
    assert client.get(URL).status_code == 404
    assert put(client)["id"] == str(bot.public_id)
    bot.refresh_from_db()
    assert (bot.archived_at, bot.enabled) == (None, True)
    actions = AuditLog.objects.filter(object_id=str(bot.public_id)).order_by("pk")
    assert [entry.action for entry in actions] == ["unarchived", "changed"]


def test_a_refused_body_leaves_an_archived_bot_archived(client, workspace):
    bot = archived(workspace)
    refused = client.put(URL, {**HOOK, "adapter": "pigeon"}, format="json")
    assert refused.status_code == 400
    bot.refresh_from_db()
    assert bot.archived_at is not None


def test_a_slug_of_another_workspace_is_taken(client):
    BotFactory.create(slug="hook", workspace=WorkspaceFactory.create(slug="elsewhere"))
    put(client, 400)
    assert client.get(URL).status_code == 404


@pytest.mark.parametrize("name", ["slug", "id"])
def test_an_archived_bot_is_no_bot_to_talk_at(client, workspace, name):
    bot = archived(workspace)
    given = bot.slug if name == "slug" else str(bot.public_id)
    event = {"type": "message.received", "bot": given, "input": {"text": "Hi"}}
    for url, body in (
        ("events", event),
        ("conversations", {"bot": given}),
        ("bindings/resolve", event),
    ):
        answer = client.post(f"/api/v1/{url}/", body, format="json")
        assert answer.status_code == 400, url
        assert "bot" in answer.json()["errors"]
    assert not EventLog.objects.exists()
    assert not Conversation.objects.exists()


def test_nobody_binds_an_archived_bot(client, workspace, agent):
    bot = archived(workspace)
    body = {"agent": agent.slug, "scope": "bot", "scope_ref": bot.slug}
    answer = client.post("/api/v1/bindings/", body, format="json")
    assert "scope_ref" in answer.json()["errors"]


def test_the_history_of_an_archived_bot_is_still_found(client, workspace, agent):
    from tests.runners.admin_rows import make_run

    bot = archived(workspace)
    run = make_run(agent, bot_id=bot.public_id)
    name_bot(run.event, bot)
    assert AgentRun.objects.get() == run
    for kind in ("runs", "events"):
        for given in (bot.slug, bot.public_id):
            found = client.get(f"/api/v1/{kind}/?bot={given}")
            assert len(found.json()["results"]) == 1, found.content


def test_commands_say_nothing_to_an_archived_bot(workspace):
    archived(workspace)
    Bot.objects.update(enabled=True)  # as an older version may have left it
    with pytest.raises(CommandError, match="no bot hook"):
        call_command("sendmessage", "hook", "Hi")


def test_an_event_of_an_archived_bot_is_not_replayed(client, workspace, agent):
    from runners.errors import NotReplayableError
    from runners.replays import replay_event
    from tests.runners.admin_rows import make_run

    bot = archived(workspace)
    name_bot(make_run(agent).event, bot)
    with pytest.raises(NotReplayableError):
        replay_event(EventLog.objects.get(), "ada")


def test_bindings_that_follow_a_bot_leave_entries(client, workspace, agent):
    put(client, 201)
    binding = AgentBindingFactory.create(agent=agent, scope="bot", scope_ref="hook")
    bot = Bot.objects.get()
    body = {"slug": "renamed"}
    client.patch(f"{BOTS}{bot.public_id}/", body, format="json")
    entry = AuditLog.objects.get(object_type="langbot_agents.agentbinding")
    assert entry.object_id == str(binding.public_id)
    assert (entry.before, entry.after) == (
        {"scope_ref": "hook"},
        {"scope_ref": "renamed"},
    )
