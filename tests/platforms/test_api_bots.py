from datetime import UTC, datetime

import pytest

from langbot.core.models import AuditLog, IdempotencyKey
from platforms.models import Bot
from platforms.services import save_bot, unarchive_bot
from runners.models import Conversation
from tests.factories import AgentBindingFactory, AgentFactory, BotFactory
from tests.support.rest import admin_client_of

BOTS = "/api/v1/bots/"
SECRET = "a s3cret of the platform"
HOOK = {"slug": "hook", "name": "Hook", "adapter": "webhook"}


@pytest.fixture
def client(workspace):
    return admin_client_of(workspace)


def create(client, **values):
    body = {**HOOK, "config": {"secret": SECRET}, **values}
    answer = client.post(BOTS, body, format="json")
    assert answer.status_code == 201, answer.content
    return answer


def url_of(row):
    return f"{BOTS}{row['id']}/"


def test_a_created_bot_reads_back_without_its_secret(client, workspace):
    created = create(client, config={"secret": SECRET, "url": "https://a.test/x"})
    assert SECRET.encode() not in created.content
    row = created.json()
    assert row["workspace"] == "default"
    assert row["config"] == {"secret": "[redacted]", "url": "https://a.test/x"}
    assert client.get(url_of(row)).json() == row
    assert client.get(BOTS).json()["results"] == [row]
    bot = Bot.objects.get()
    assert bot.secrets == {"secret": SECRET}
    assert SECRET not in str(bot.config)
    assert SECRET not in str(list(AuditLog.objects.values()))


def test_the_mask_keeps_a_secret_and_a_new_one_replaces_it(client, workspace):
    row = create(client).json()
    config = {**row["config"], "url": "https://b.test/"}
    changed = client.patch(url_of(row), {"config": config}, format="json")
    assert changed.status_code == 200, changed.content
    assert Bot.objects.get().secrets == {"secret": SECRET}
    assert Bot.objects.get().config["url"] == "https://b.test/"
    client.patch(url_of(row), {"config": {"secret": "new"}}, format="json")
    assert Bot.objects.get().secrets == {"secret": "new"}
    client.patch(url_of(row), {"name": "Renamed"}, format="json")
    assert Bot.objects.get().secrets == {"secret": "new"}


def test_a_secret_never_moves_to_another_platform(client, workspace):
    row = create(client).json()
    moved = client.patch(url_of(row), {"adapter": "web"}, format="json")
    assert moved.status_code == 200, moved.content
    assert not Bot.objects.get().secrets
    back = client.patch(
        url_of(row),
        {"adapter": "webhook", "config": {"secret": "[redacted]"}},
        format="json",
    )
    assert back.status_code == 400
    assert "secret" in str(back.json()["errors"]["config"])


@pytest.mark.parametrize(
    "values",
    [
        {"slug": "a b"},
        {"slug": ""},
        {"name": ""},
        {"adapter": "carrier pigeon"},
        {"adapter": 5},
        {"config": []},
        {"config": {}},  # the secret is required
        {"config": {"secret": SECRET, "unknown": 1}},
        {"config": {"secret": 5}},
        {"enabled": "perhaps"},
        {"no_such_field": 1},
    ],
)
def test_wrong_fields_are_named(client, workspace, values):
    body = {**HOOK, "config": {"secret": SECRET}, **values}
    answer = client.post(BOTS, body, format="json")
    assert answer.status_code == 400, answer.content
    assert set(values) & set(answer.json()["errors"])
    assert not Bot.objects.exists()


def test_a_change_of_nothing_leaves_no_trace(client, workspace):
    row = create(client).json()
    entries = AuditLog.objects.count()
    same = {name: row[name] for name in ("name", "slug", "config", "enabled")}
    assert client.patch(url_of(row), same, format="json").json() == row
    assert AuditLog.objects.count() == entries


def test_of_two_changes_of_one_state_the_later_is_refused(client, workspace):
    created = create(client)
    headers = {"If-Match": created["ETag"]}
    url = url_of(created.json())
    first = client.patch(url, {"name": "One"}, format="json", headers=headers)
    assert first.status_code == 200
    second = client.patch(url, {"name": "Two"}, format="json", headers=headers)
    assert second.status_code == 412
    assert client.delete(url, headers=headers).status_code == 412


def test_an_unused_bot_is_deleted(client, workspace):
    row = create(client).json()
    assert client.delete(url_of(row)).status_code == 204
    assert not Bot.objects.exists()
    assert AuditLog.objects.filter(action="deleted").exists()


def test_a_bound_bot_stays(client, workspace, agent):
    row = create(client).json()
    binding = AgentBindingFactory.create(agent=agent, scope="bot", scope_ref="hook")
    refused = client.delete(url_of(row))
    assert refused.status_code == 409
    assert refused.json()["code"] == "bot_in_use"
    assert refused.json()["bindings"] == [str(binding.public_id)]
    assert Bot.objects.get().archived_at is None


def test_a_used_bot_is_archived_and_can_come_back(client, workspace):
    row = create(client).json()
    Conversation.objects.create(workspace=workspace, key="k", bot_id=row["id"])
    assert client.delete(url_of(row)).status_code == 204
    bot = Bot.objects.get()
    assert (bot.enabled, bot.archived_at is None) == (False, False)
    assert client.get(url_of(row)).status_code == 404
    assert client.get(BOTS).json()["results"] == []
    taken = client.post(BOTS, {**HOOK, "config": {"secret": "x"}}, format="json")
    assert taken.status_code == 400
    unarchive_bot(bot, author="ada")
    assert client.get(url_of(row)).json()["enabled"] is False


def test_a_save_of_a_stale_copy_revives_nobody(client, workspace):
    bot = BotFactory.create(workspace=workspace)
    Bot.objects.update(archived_at=datetime.now(UTC))
    bot.name = "Changed"
    save_bot(bot, author="ada")
    assert Bot.objects.get().archived_at is not None


def test_bindings_follow_a_bot_to_its_new_slug(client, workspace, agent):
    row = create(client).json()
    binding = AgentBindingFactory.create(agent=agent, scope="bot", scope_ref="hook")
    client.patch(url_of(row), {"slug": "renamed"}, format="json")
    binding.refresh_from_db()
    assert binding.scope_ref == "renamed"


def test_another_workspaces_bot_does_not_exist(client, workspace):
    foreign = BotFactory.create(name="Theirs")
    url = f"{BOTS}{foreign.public_id}/"
    assert client.get(url).status_code == 404
    assert client.patch(url, {"name": "Mine"}, format="json").status_code == 404
    assert client.delete(url).status_code == 404
    assert client.post(f"{url}check/").status_code == 404
    assert client.get(BOTS).json()["results"] == []
    foreign.refresh_from_db()
    assert foreign.name == "Theirs"


def test_filters_and_orderings(client, workspace):
    for slug, adapter in (("b", "web"), ("a", "webhook"), ("c", "web")):
        BotFactory.create(workspace=workspace, slug=slug, adapter=adapter, name=slug)
    BotFactory.create(workspace=workspace, slug="d", enabled=False, name="d")

    def slugs(query):
        found = client.get(f"{BOTS}?{query}").json()["results"]
        return "".join(row["slug"] for row in found)

    assert slugs("adapter=web&ordering=slug") == "bcd"
    assert slugs("enabled=false") == "d"
    assert slugs("slug=a") == "a"
    assert slugs("ordering=-name") == "dcba"


def check(client, bot):
    answer = client.post(f"{BOTS}{bot.public_id}/check/")
    assert answer.status_code == 200, answer.content
    found = answer.json()
    return found["ok"], {one["name"]: one for one in found["checks"]}


def test_a_bot_that_works_checks_well(client, workspace, agent):
    bot = BotFactory.create(workspace=workspace)
    AgentBindingFactory.create(agent=agent, scope="bot", scope_ref=bot.slug)
    ok, checks = check(client, bot)
    assert ok, checks
    assert agent.name in checks["binding"]["detail"]


def test_a_check_says_what_is_missing(client, workspace):
    AgentBindingFactory.create(
        agent=AgentFactory.create(), scope="workspace"
    )  # a foreign one
    bot = BotFactory.create(workspace=workspace, adapter="webhook", enabled=False)
    ok, checks = check(client, bot)
    assert not ok
    wrong = {name for name, one in checks.items() if not one["ok"]}
    assert wrong == {"enabled", "settings", "binding"}
    assert "secret" in checks["settings"]["detail"]


def test_a_check_refuses_an_address_that_cannot_be_called(client, workspace):
    bot = BotFactory.create(
        workspace=workspace, adapter="webhook", secrets={"secret": "x"}
    )
    for url in ("http://127.0.0.1/", "ftp://a.test/", "http://", "http://[::1"):
        Bot.objects.update(config={"url": url})
        _ok, checks = check(client, bot)
        assert not checks["connection"]["ok"], url
        assert checks["connection"]["detail"]


def test_a_platform_that_nobody_brings_is_named(client, workspace):
    bot = BotFactory.create(workspace=workspace, adapter="gone", config={"kept": 1})
    _ok, checks = check(client, bot)
    assert not checks["platform"]["ok"]
    url = f"{BOTS}{bot.public_id}/"
    renamed = client.patch(url, {"name": "Still here"}, format="json")
    assert renamed.status_code == 200, renamed.content
    assert Bot.objects.get().config == {"kept": 1}


def test_a_repeated_create_makes_one_bot_and_keeps_no_secret(client, workspace):
    body = {**HOOK, "config": {"secret": SECRET}}
    headers = {"Idempotency-Key": "k"}
    first = client.post(BOTS, body, format="json", headers=headers)
    again = client.post(BOTS, body, format="json", headers=headers)
    assert first.json() == again.json()
    assert SECRET not in str(IdempotencyKey.objects.get().answer)
