"""People are told by mail, each thing once, by a real SMTP server."""

import threading
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import close_old_connections, connection
from django.db.models.functions import Now
from django.urls import reverse

from langbot import checks
from langbot.core import mailing, notifications
from langbot.core.models import AuditLog, Notification, NotificationPreference
from langbot.core.notices import NoticeStatus
from platforms.models import Bot
from platforms.notices import BROKEN_SECONDS
from runners.models import Delivery, PendingAction
from runners.notices import ANSWERED_SECONDS
from tests.factories import WorkspaceFactory
from tests.platforms.receiver import delivery, webhook_bot
from tests.runners.admin_rows import make_action, make_run
from tests.support.mail_server import MailServer

pytestmark = pytest.mark.django_db(transaction=True)
BUDGET = {"budget": "Shop, this week", "percent": 90, "path": "/admin/"}
ROUNDS = 10


@pytest.fixture
def server():
    started = MailServer()
    yield started
    started.close()


@pytest.fixture
def mail(settings, server):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
    settings.EMAIL_USE_TLS, settings.EMAIL_TIMEOUT = False, 10
    settings.DEFAULT_FROM_EMAIL = "host@example.org"
    return server


def person(workspace, name="ada", *, rights=("view_cost",), **wishes):
    user = get_user_model().objects.create_user(
        name, email=f"{name}@example.org", is_staff=True
    )
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    workspace.memberships.create(user=user)
    wanted = {"approval": False, "bot": False, "delivery": False, "budget": True}
    NotificationPreference.objects.create(
        workspace=workspace, user=user, **(wanted | wishes)
    )
    return user


def tell_budget(workspace, key="week 1"):
    notifications.notify(workspace, "budget", key, BUDGET)


def later(**passed):
    """Let time pass for every notice."""
    Notification.objects.update(not_before=Now() - timedelta(seconds=1))
    if passed:
        taken = Notification.objects.exclude(claimed_at=None)
        taken.update(claimed_at=Now() - timedelta(**passed))


def statuses():
    return sorted(Notification.objects.values_list("status", flat=True))


def test_nothing_is_queued_where_no_mail_is_set_up(workspace, capsys):
    person(workspace)
    tell_budget(workspace)
    mailing.sweep()
    assert mailing.send_waiting() == 0
    assert not Notification.objects.exists()
    [warning] = checks.mail_checks()
    assert warning.id == "langbot.W009"
    NotificationPreference.objects.all().delete()
    assert checks.mail_checks() == []


def test_a_sender_is_needed_too(settings, mail):
    assert notifications.is_configured()
    settings.DEFAULT_FROM_EMAIL = "webmaster@localhost"
    assert not notifications.is_configured()


def test_each_thing_is_told_once_to_those_who_want_and_may_know(workspace, mail):
    person(workspace)
    person(workspace, "bob", budget=False)
    person(workspace, "eve", rights=())  # may not see costs
    person(WorkspaceFactory.create(slug="other"), "carl")
    for _again in range(3):
        tell_budget(workspace)
        mailing.send_waiting()
        later(minutes=6)
    [letter] = mail.mails
    assert letter["To"] == "ada@example.org"
    assert letter["Subject"] == "The budget Shop, this week is at 90 %"
    text = letter.get_content()
    assert "http://127.0.0.1:8000/admin/" in text
    assert workspace.name in text
    assert statuses() == [NoticeStatus.DROPPED, NoticeStatus.SENT]


def test_people_who_left_are_told_nothing_more(workspace, mail):
    user = person(workspace)
    tell_budget(workspace)
    workspace.memberships.filter(user=user).delete()
    assert mailing.send_waiting() == 0
    assert mail.mails == []


def test_a_mail_in_five_minutes_holds_all_that_waited(workspace, mail):
    person(workspace)
    tell_budget(workspace, "first")
    assert mailing.send_waiting() == 1
    for number in range(60):
        tell_budget(workspace, f"more {number}")
    assert mailing.send_waiting() == 0, "not before five minutes have passed"
    later(minutes=6)
    assert mailing.send_waiting() == 1
    assert mail.mails[1]["Subject"] == "60 things need you"
    assert "10 more" in mail.mails[1].get_content()
    assert set(statuses()) == {NoticeStatus.SENT}


def test_many_senders_put_each_notice_into_one_mail(workspace, mail):
    people = [person(workspace, f"p{number}") for number in range(4)]
    for round_number in range(ROUNDS):
        tell_budget(workspace, f"round {round_number}")
        barrier = threading.Barrier(6)
        threads = [threading.Thread(target=_send, args=(barrier,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for user in people:
            assert len(mail.to(user.email)) == round_number + 1
        later(minutes=6)


def _send(barrier):
    barrier.wait(30)
    try:
        mailing.send_waiting()
    finally:
        close_old_connections()
        connection.close()


def test_a_server_that_is_away_gets_it_later(settings, workspace, mail):
    person(workspace)
    tell_budget(workspace)
    settings.EMAIL_PORT = 1  # nobody listens
    assert mailing.send_waiting() == 0
    notice = Notification.objects.get()
    assert (notice.status, notice.attempts) == (NoticeStatus.WAITING, 1)
    assert "no server" in notice.last_error
    settings.EMAIL_PORT = mail.port
    assert mailing.send_waiting() == 0, "its time has not come"
    later()
    assert mailing.send_waiting() == 1
    assert len(mail.mails) == 1


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        ("550 no such person", NoticeStatus.FAILED),
        ("451 come again", NoticeStatus.WAITING),
    ],
)
def test_a_refusal_ends_it_or_is_tried_again(workspace, mail, refusal, status):
    person(workspace)
    tell_budget(workspace)
    mail.refusal = refusal
    assert mailing.send_waiting() == 0
    assert statuses() == [status]
    mail.refusal = ""
    later()
    assert mailing.send_waiting() == (status == NoticeStatus.WAITING)


def test_a_refusal_that_lasts_is_given_up(workspace, mail):
    person(workspace)
    tell_budget(workspace)
    mail.refusal = "451 come again"
    for _attempt in range(len(mailing.RETRY_SECONDS) + 1):
        later()
        mailing.send_waiting()
    assert statuses() == [NoticeStatus.FAILED]


def test_what_may_have_arrived_never_goes_again(workspace, mail):
    person(workspace)
    tell_budget(workspace)
    mail.hang_up = True
    assert mailing.send_waiting() == 0
    assert statuses() == [NoticeStatus.UNCERTAIN]
    mail.hang_up = False
    later(minutes=6)
    assert mailing.send_waiting() == 0
    assert mail.mails == []


def test_what_a_dead_sender_had_taken_stays_unclear(workspace, mail):
    person(workspace)
    tell_budget(workspace)
    Notification.objects.update(status="sending", claimed_at=Now())
    assert mailing.send_waiting() == 0
    assert statuses() == [NoticeStatus.SENDING]
    later(minutes=11)
    assert mailing.send_waiting() == 0
    assert statuses() == [NoticeStatus.UNCERTAIN]


def test_what_others_named_adds_no_header(workspace, mail):
    person(workspace)
    context = {"budget": "x\nBcc: eve@example.org\r\n\r\nhi", "percent": 1}
    notifications.notify(workspace, "budget", "odd", context)
    assert mailing.send_waiting() == 1
    assert mail.mails[0]["Bcc"] is None
    assert mail.mails[0]["Subject"].startswith("The budget x Bcc: eve@example.org")


def test_a_decision_that_waits_is_told_unless_it_is_made_soon(agent, mail):
    place = agent.workspace
    person(place, rights=("resolve_action",), approval=True)
    soon = make_action(make_run(agent), tool_name="soon")
    waits = make_action(make_run(agent), tool_name="pay", arguments={"to": "Eve"})
    mailing.sweep()
    assert Notification.objects.count() == 2
    wait = Notification.objects.earliest("pk")
    assert (wait.not_before - wait.created_at).total_seconds() == pytest.approx(
        ANSWERED_SECONDS, abs=5
    )
    PendingAction.objects.filter(pk=soon.pk).update(status="approved")
    later()
    assert mailing.send_waiting() == 1
    [letter] = mail.mails
    assert letter["Subject"] == f"{agent.name} asks a person: pay"
    text = letter.get_content()
    page = reverse("admin:langbot_runners_pendingaction_change", args=[waits.pk])
    assert page in text
    assert "Eve" not in text, "arguments are for the page"
    notifications.tell_all()
    assert Notification.objects.count() == 1


def test_lost_deliveries_and_broken_bots_are_told(settings, mail):
    bot = webhook_bot("http://nowhere.test/", name="Desk")
    rights = ("view_delivery", "view_bot")
    person(bot.workspace, rights=rights, delivery=True, bot=True)
    lost = delivery(bot, target="room 7|")
    delivery(bot, target="room 8|")
    notifications.tell_all()
    assert not Notification.objects.exists()
    Delivery.objects.filter(pk=lost.pk).update(status="failed")
    Bot.objects.filter(pk=bot.pk).update(last_error="wrong token")
    for _again in range(2):
        notifications.tell_all()
    told = Notification.objects.get(kind="bot")
    waits = (told.not_before - told.created_at).total_seconds()
    assert waits == pytest.approx(BROKEN_SECONDS, abs=5)
    later()
    assert mailing.send_waiting() == 1
    text = mail.mails[0].get_content()
    assert "The bot Desk has a problem: wrong token" in text
    assert "could not be delivered to room 7" in text


def test_a_bot_that_works_again_is_no_news_but_its_next_break_is(mail):
    bot = webhook_bot("http://nowhere.test/")
    person(bot.workspace, rights=("view_bot",), bot=True)
    bots = Bot.objects.filter(pk=bot.pk)
    bots.update(last_error="wrong token")
    notifications.tell_all()
    bots.update(last_error="")
    later()
    assert mailing.send_waiting() == 0
    bots.update(last_error="wrong token again")
    notifications.tell_all()
    later()
    assert mailing.send_waiting() == 1


def test_the_sweep_sends_beside_its_caller(workspace, mail):
    person(workspace)
    tell_budget(workspace)
    mailing.sweep()
    for thread in threading.enumerate():
        if thread.name == "mail":
            thread.join(30)
    assert len(mail.mails) == 1


def test_nothing_is_asked_for_nobody(mail, django_assert_max_num_queries):
    with django_assert_max_num_queries(2):
        mailing.sweep()


def test_old_notices_go(workspace, mail):
    person(workspace)
    tell_budget(workspace)
    Notification.objects.update(created_at=Now() - timedelta(days=31))
    tell_budget(workspace, "new")
    assert mailing.purge_due() == 1
    assert Notification.objects.get().key == "new"


def test_people_choose_for_themselves(workspace, client, mail):
    user = person(workspace, rights=())
    client.force_login(user)
    page = reverse("admin:langbot_core_notificationpreference_mine")
    body = client.get(page).content.decode()
    assert "ada@example.org" in body
    field = f"workspace-{workspace.pk}-"
    answer = client.post(page, {f"{field}approval": "on"})
    assert answer.status_code == 302
    wishes = NotificationPreference.objects.get(user=user)
    assert (wishes.approval, wishes.budget) == (True, False)
    entry = AuditLog.objects.latest("pk")
    assert (entry.actor, entry.after) == ("ada", {"approval": True, "budget": False})


def test_the_admin_says_that_no_mail_is_set_up(workspace, client):
    root = get_user_model().objects.create_superuser("root")
    client.force_login(root)
    for page in ("mine", "changelist"):
        address = reverse(f"admin:langbot_core_notificationpreference_{page}")
        assert "No mail is set up" in client.get(address).content.decode()


def test_checklangbot_says_so(workspace, capsys):
    person(workspace)
    call_command("checklangbot")
    assert "langbot.W009" in capsys.readouterr().out
