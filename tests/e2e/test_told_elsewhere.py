"""A real host tells people where they are: a text with a link, and a mail."""

from urllib.parse import urlsplit

import httpx2
import pytest

from tests.platforms.receiver import Receiver
from tests.support import asked_rows
from tests.support.host import RunningHost
from tests.support.mail_server import MailServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def receiver():
    server = Receiver()
    yield server
    server.close()


@pytest.fixture(scope="module")
def mail():
    server = MailServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def told_host(receiver, mail):
    variables = {
        "LANGBOT_OUTBOUND_ALLOW": "127.0.0.1",
        "EMAIL_HOST": "127.0.0.1",
        "EMAIL_PORT": str(mail.port),
        "EMAIL_USE_TLS": "false",
        "DEFAULT_FROM_EMAIL": "host@example.org",
    }
    with RunningHost(variables=variables) as host:
        host.inside(asked_rows.add_webhook_bot, url=receiver.url)
        yield host


def test_a_link_reaches_the_platform_and_decides(told_host, receiver):
    key = told_host.inside(asked_rows.ask_by_webhook)
    told_host.wait_for(lambda: receiver.calls, "the message is sent", 60)
    (text,) = receiver.texts()
    link = text.splitlines()[-1]
    there = told_host.url + urlsplit(link).path
    assert httpx2.get(there).status_code == 200
    assert told_host.inside(asked_rows.decision_of, key=key)["status"] == "open"
    assert httpx2.post(there, data={"decision": "approve"}).status_code == 200
    assert told_host.inside(asked_rows.decision_of, key=key)["status"] == "approved"
    assert httpx2.post(there, data={"decision": "reject"}).status_code == 409
    said = told_host.processes.logs()
    assert {"web", "worker-1"} <= set(said)
    assert not [name for name, text in said.items() if urlsplit(link).path in text]


def test_a_lost_reply_is_told_by_mail_once(told_host, mail):
    username = told_host.secrets["username"]
    told_host.inside(asked_rows.want_mails, username=username)
    told_host.inside(asked_rows.lose_a_delivery)
    told_host.wait_for(lambda: mail.mails, "a mail is sent", 60)
    (letter,) = mail.mails
    assert letter["To"] == "boss@example.org"
    assert "could not be delivered to room" in letter["Subject"]
