"""The admin's page of one person's data: look, export, erase; within workspaces."""

import re
import zipfile
from html import unescape
from io import BytesIO
from secrets import token_hex

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.html import strip_tags

from langbot.core.audit import record_act, record_host_act
from langbot.core.models import AuditLog
from runners.admin import person_pages
from runners.models import AgentRun, Conversation, EventLog, TranscriptItem
from runners.people import removing
from runners.people.erasing import erase_for
from runners.people.exporting import export_parts
from runners.people.persons import Person
from tests.factories import AgentFactory, BotFactory, WorkspaceFactory
from tests.runners.test_people import AUTHOR, BOB, CANARY, EVE, leave_traces
from tests.runners.test_people import bot as bot  # noqa: PLC0414 - a fixture
from tests.runners.test_people import eve as eve  # noqa: PLC0414 - a fixture
from tests.runners.test_people import say as say  # noqa: PLC0414 - a fixture
from tests.support.canary import rows_with

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]
PAGE = reverse("admin:langbot_runners_conversation_person")
EXPORT = reverse("admin:langbot_runners_conversation_person_export")
ERASE = reverse("admin:langbot_runners_conversation_person_erase")


@pytest.fixture
def member(client, workspace):
    """Log in staff of the workspace in a group."""

    def make(group):
        person = get_user_model().objects.create_user(group, is_staff=True)
        person.groups.add(Group.objects.get(name=group))
        workspace.memberships.create(user=person)
        client.force_login(person)
        return client

    return make


def whom(bot, actor=EVE, **more):
    return {"place": f"bot:{bot.public_id}", "actor": actor, **more}


def text_of(response):
    return " ".join(unescape(strip_tags(response.content.decode())).split())


def zip_of(response):
    assert response.status_code == 200
    return zipfile.ZipFile(BytesIO(b"".join(response)))


def test_what_is_held_is_counted(member, say, bot):
    leave_traces(say(EVE, "I am Eve", place="alone", answer="Hello"))
    say(BOB, "Hello all", answer="Hello Bob")
    say(EVE, "Me too", answer="Hello Eve")
    shown = text_of(member("auditors").get(PAGE, whom(bot)))
    for count, kind in (
        (1, "conversations of their own"),
        (1, "conversations with others"),
        (4, "messages"),
        (2, "runs"),
    ):
        assert f"{kind} {count}" in shown
    assert "Export" in shown
    assert "Type the id" not in shown  # who may not erase
    nobody = text_of(member("admins").get(PAGE, whom(bot, "nobody")))
    assert "The ledger has nothing of nobody." in nobody
    assert "Type the id" in nobody


def test_an_export_is_sent_in_pieces_and_written_down(member, say, bot, workspace, eve):
    leave_traces(say(EVE, f"I am {CANARY}", place="alone", answer="Hello"))
    response = member("auditors").post(EXPORT, whom(bot))
    entry = AuditLog.objects.get(action="person exported")  # before the first piece
    assert (entry.actor, entry.workspace) == ("auditors", workspace)
    assert entry.after == {"person": eve.pseudonym}
    archive = zip_of(response)
    assert archive.testzip() is None
    assert CANARY in archive.read("messages.jsonl").decode()
    assert "no-store" in response["Cache-Control"]
    assert "attachment; filename" in response["Content-Disposition"]


def test_a_large_export_never_is_in_memory_as_a_whole(say, eve):
    place = say(EVE, "hello", place="alone").conversation
    noise = (token_hex(500) for _ in range(2000))  # what no zip makes small
    TranscriptItem.objects.bulk_create(
        TranscriptItem(
            conversation=place, seq=seq, role="user", actor_id=EVE, text=text
        )
        for seq, text in enumerate(noise, 100)
    )
    sizes = [len(part) for part in export_parts(eve, {})]
    assert len(sizes) > 5
    assert max(sizes) < 200_000


def test_erasing_takes_the_id_typed_again(member, say, bot, workspace):
    leave_traces(say(EVE, f"I am {CANARY}", place="alone", answer="Hello"))
    client = member("admins")
    for typed in ("", EVE.upper(), f"{EVE}7"):
        refused = client.post(ERASE, whom(bot, confirmed=typed))
        assert refused.status_code == 200
        assert "lb-notice lb-bad" in refused.content.decode()
    assert AgentRun.objects.count() == 1
    done = client.post(ERASE, whom(bot, confirmed=EVE), follow=True)
    assert "Erased: " in text_of(done)
    assert AgentRun.objects.count() == 0
    assert EventLog.objects.count() == 0
    entry = AuditLog.objects.get(action="person erased")
    assert (entry.actor, entry.source) == ("admins", "admin")
    assert entry.workspace == workspace
    assert entry.after is not None
    assert entry.after["finished"] is True


def test_no_link_types_the_id_for_its_reader(member, say, bot):
    say(EVE, "I am Eve", place="alone", answer="Hello")
    page = member("admins").get(PAGE, whom(bot, confirmed=EVE)).content.decode()
    (field,) = re.findall(r'<input[^>]* name="confirmed"[^>]*>', page)
    assert EVE not in field


def test_much_is_erased_in_several_requests(member, say, bot, monkeypatch):
    monkeypatch.setattr(person_pages, "SECONDS", 0.0)
    leave_traces(say(EVE, f"I am {CANARY}", place="alone", answer="Hello"))
    client, answer, requests = member("admins"), None, 0
    body = whom(bot, confirmed=EVE)
    while requests < 50:
        answer = client.post(ERASE, body)
        requests += 1
        if answer.status_code == 302:
            break
        assert "More is left" in text_of(answer)
        hidden = r'name="(\w+)"\s+value="([^"]*)"'
        form = answer.content.decode().partition("data-lb-again")[2]
        body = dict(re.findall(hidden, form.partition("</form>")[0]))
        assert int(body["gone"]) > 0
    assert answer is not None
    assert requests > 5
    assert "Erased: " in text_of(client.get(answer["Location"]))
    assert rows_with([CANARY]) == []


@pytest.mark.parametrize("together", [1, 100])
def test_erasing_stops_anywhere_and_begins_anew(say, eve, monkeypatch, together):
    """Nothing goes before what is found by it, whatever batch was the last."""
    monkeypatch.setattr(removing, "_TOGETHER", together)
    first = say(EVE, f"I am {CANARY}", place="alone", answer=f"Hello {CANARY}")
    leave_traces(first)
    say(EVE, f"Again {CANARY}", place="alone", answer=f"Hello again {CANARY}")
    Conversation.objects.filter(pk=first.conversation.pk).update(
        actor_id="", title=f"About {CANARY}"
    )
    say(BOB, "Hello all", answer="Hello Bob")
    shared = say(EVE, f"{CANARY} here", answer=f"Good day {CANARY}").conversation
    Conversation.objects.filter(pk=shared.pk).update(title=f"Of {CANARY}")
    steps = 0
    while not erase_for(eve, AUTHOR, 0.0).is_finished:
        steps += 1
        assert steps < 60
    assert steps > 8
    assert rows_with([CANARY]) == []
    said = TranscriptItem.objects.filter(conversation=shared).order_by("seq")
    assert [item.text for item in said] == ["Hello all", "Hello Bob"]
    assert Conversation.objects.get() == shared


def test_bounded_staff_reach_no_other_workspace(member, say, bot, agent):
    other = WorkspaceFactory.create(slug="other", name="Other place")
    strange = BotFactory.create(workspace=other, name="Strange bot")
    there = record_act("keeper", "changed", strange, after={"who": EVE})
    host = record_host_act("root", "noted", {"who": EVE})
    here = record_act("keeper", "changed", bot, after={"who": EVE})
    itself = record_act("keeper", "changed", bot.workspace, after={"who": EVE})
    say(EVE, "I am Eve", place="alone", answer="Hello")
    client = member("admins")
    page = client.get(PAGE).content.decode()
    assert "Strange bot" not in page
    assert "Other place" not in page
    assert "an account here, wherever" not in page
    for address in (EXPORT, ERASE):
        for place in (f"bot:{strange.public_id}", "api:other", "account"):
            body = {"place": place, "actor": EVE, "confirmed": EVE}
            refused = client.post(address, body)
            assert refused.status_code == 200, (address, place)
            assert "Content-Disposition" not in refused
    audit = zip_of(client.post(EXPORT, whom(bot))).read("audit.jsonl").decode()
    assert '"root"' not in audit
    assert audit.count('"keeper"') == 2
    client.post(ERASE, whom(bot, confirmed=EVE))
    kept = dict(AuditLog.objects.values_list("pk", "after"))
    assert kept[there.pk] == kept[host.pk] == {"who": EVE}
    who = Person(EVE, bot.workspace, bot.public_id).pseudonym
    assert kept[here.pk] == kept[itself.pk] == {"who": who}


def test_superusers_erase_accounts_everywhere(admin_client, user, api_client, agent):
    path = f"/api/v1/agents/{agent.public_id}/test/"
    assert api_client.post(path, {"text": CANARY}, format="json").status_code == 201
    body = {"place": "account", "actor": user.username}
    assert "runs 1" in text_of(admin_client.get(PAGE, body))
    missing = admin_client.get(PAGE, {"place": "account", "actor": "nobody"})
    assert "There is no such account." in text_of(missing)
    admin_client.post(ERASE, {**body, "confirmed": user.username})
    assert EventLog.objects.count() == 0


@pytest.mark.parametrize(
    ("group", "looks", "erases"),
    [
        ("viewers", False, False),
        ("operators", False, False),
        ("approvers", False, False),
        ("auditors", True, False),
        ("admins", True, True),
    ],
)
def test_who_may_look_and_erase(member, say, bot, group, looks, erases):
    say(EVE, "I am Eve", place="alone", answer="Hello")
    client = member(group)
    seen = client.get(PAGE, whom(bot)), client.post(EXPORT, whom(bot))
    assert {one.status_code for one in seen} == ({200} if looks else {403})
    done = client.post(ERASE, whom(bot, confirmed=EVE))
    assert done.status_code == (302 if erases else 403)
    assert EventLog.objects.exists() is not erases
    listed = client.get(reverse("admin:langbot_runners_conversation_changelist"))
    assert (PAGE in listed.content.decode()) is looks


def test_who_may_only_erase_learns_nothing_here(member, say, bot):
    """The list's action is theirs: they see whom it names."""
    say(EVE, "I am Eve", place="alone", answer="Hello")
    client = member("viewers")
    person = get_user_model().objects.get(username="viewers")
    right = Permission.objects.get(codename="delete_conversation")
    person.user_permissions.add(right)
    for typed in ("another", EVE):
        refused = client.post(ERASE, whom(bot, confirmed=typed))
        assert refused.status_code == 403
    assert EventLog.objects.exists()


def test_a_get_neither_exports_nor_erases(member, say, bot):
    say(EVE, "I am Eve", place="alone", answer="Hello")
    client = member("admins")
    for address in (EXPORT, ERASE):
        answer = client.get(address, whom(bot, confirmed=EVE))
        assert (answer.status_code, answer.url) == (302, PAGE)
    assert EventLog.objects.exists()


def test_a_page_of_much_takes_no_more_queries(member, say, bot):
    agent = AgentFactory.create(workspace=bot.workspace)
    client, taken = member("admins"), []
    client.get(PAGE, whom(bot))
    for number in range(6):
        say(EVE, f"I am {number}", place=f"p{number}", answer="Hello", agent=agent)
        with CaptureQueriesContext(connection) as queries:
            client.get(PAGE, whom(bot))
        taken.append(len(queries))
    assert taken[-1] == taken[0] < 60
