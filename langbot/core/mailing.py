"""Sends notices: a mail per person every five minutes at most, with all that waits.

A notice is taken by compare-and-set before its mail leaves, so it is never in two
mails: what a sender that died had taken stays `uncertain`. No transaction is open
while a server is asked.
"""

import logging
import threading
from collections.abc import Sequence
from datetime import timedelta
from smtplib import SMTPException, SMTPRecipientsRefused, SMTPResponseException
from typing import Any
from urllib.parse import urljoin
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import EmailMessage, get_connection
from django.db import close_old_connections
from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.functions import Now
from django.urls import NoReverseMatch, reverse
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from langbot.core import notifications, retention
from langbot.core.models import Membership
from langbot.core.notices import NoticeStatus, Notification
from langbot.lib.conf import conf
from langbot.lib.db import DATABASE_FAILURES
from langbot.lib.ids import uuid7

logger = logging.getLogger(__name__)

SECONDS_BETWEEN = 300.0  # mails to one person
RETRY_SECONDS = (60, 300, 1800, 7200)
SENDER_DEAD_SECONDS = 600.0  # far over any server's longest answer
LINES = 50  # of one mail; the rest is a number
KEEP_DAYS = 30
_PERMANENT = 500  # SMTP's replies from here on
_PEOPLE = 100  # of one round
_MOST = 1000  # notices of one mail


class RefusedError(Exception):
    """No server took the mail; `permanent`: none ever will."""

    def __init__(self, reason: str, *, permanent: bool) -> None:
        self.permanent = permanent
        super().__init__(reason)


def sweep() -> None:
    """Find what there is to tell, and have it sent beside the caller."""
    notifications.tell_all()
    if notifications.is_configured() and _due().exists():
        _sender.start()


def send_waiting() -> int:
    """Send what is due; returns the number of mails. Blocks while servers answer."""
    if not notifications.is_configured():
        return 0
    _give_up_abandoned()
    people = _due().order_by().values_list("recipient", flat=True).distinct()
    return sum(_send_to(recipient) for recipient in list(people[:_PEOPLE]))


def purge_due() -> int:
    """Delete notices that ended a month ago; returns how many went."""
    before = Now() - timedelta(days=KEEP_DAYS)
    due = Notification.objects.filter(created_at__lt=before)
    return retention.delete_batches(due)


def _due() -> QuerySet[Notification]:
    """Return what may go now: its time has come, and the person's too."""
    just_now = Notification.objects.filter(
        recipient=OuterRef("recipient"),
        status__in=(NoticeStatus.SENDING, NoticeStatus.SENT, NoticeStatus.UNCERTAIN),
        claimed_at__gt=Now() - timedelta(seconds=SECONDS_BETWEEN),
    )
    return Notification.objects.filter(
        ~Exists(just_now), status=NoticeStatus.WAITING, not_before__lte=Now()
    )


def _give_up_abandoned() -> None:
    long_ago = Now() - timedelta(seconds=SENDER_DEAD_SECONDS)
    taken = Notification.objects.filter(status=NoticeStatus.SENDING)
    taken.filter(claimed_at__lt=long_ago).update(
        status=NoticeStatus.UNCERTAIN, last_error="the sender died while sending"
    )


def _send_to(recipient: int) -> bool:
    """Send one person what waits for them; whether a mail left."""
    token = uuid7()
    # Asked first: SQLite would see its own changes while it looks for the next row.
    keys = list(_due().filter(recipient=recipient).values_list("pk", flat=True)[:_MOST])
    waiting = Notification.objects.filter(pk__in=keys, status=NoticeStatus.WAITING)
    taken = waiting.update(
        status=NoticeStatus.SENDING,
        claim_token=token,
        claimed_at=Now(),
        attempts=F("attempts") + 1,
    )
    if not taken:
        return False
    person = get_user_model()._default_manager.filter(pk=recipient).first()
    notices = _still_wanted(token, person) if person is not None else []
    if not notices:
        return False
    return _deliver(token, notifications.mail_address_of(person), notices)


def _still_wanted(token: UUID, person: Any) -> list[Notification]:
    """Return what the person may see and still matters; the rest is let go."""
    wanted, obsolete, dropped = [], [], []
    for notice in _claimed(token).select_related("workspace").order_by("pk"):
        if not _may_receive(person, notice):
            dropped.append(notice.pk)
        elif not notifications.kind_of(notice.kind).is_current(notice.key):
            obsolete.append(notice.pk)  # should it come again, it is told again
        else:
            wanted.append(notice)
    _claimed(token).filter(pk__in=dropped).update(
        status=NoticeStatus.DROPPED, claimed_at=None
    )
    _claimed(token).filter(pk__in=obsolete).delete()
    return wanted


def _may_receive(person: Any, notice: Notification) -> bool:
    """Whether the person is there, has an address and may see what it is about."""
    if not person.is_active or not notifications.mail_address_of(person):
        return False
    if not person.has_perm(notifications.kind_of(notice.kind).permission):
        return False
    place = Membership.objects.filter(user=person.pk, workspace=notice.workspace_id)
    return bool(person.is_superuser) or place.exists()


def _claimed(token: UUID) -> QuerySet[Notification]:
    return Notification.objects.filter(claim_token=token, status=NoticeStatus.SENDING)


def _deliver(token: UUID, address: str, notices: Sequence[Notification]) -> bool:
    rows = _claimed(token)
    try:
        _send(message_of(address, notices))
    except RefusedError as refused:
        _refused(rows, notices, refused)
        return False
    except (SMTPException, OSError) as error:  # it may have arrived
        reason = f"no answer ({type(error).__name__})"
        rows.update(status=NoticeStatus.UNCERTAIN, last_error=reason)
        return False
    rows.update(status=NoticeStatus.SENT, sent_at=Now(), last_error="")
    return True


def _refused(
    rows: QuerySet[Notification], notices: Sequence[Notification], refused: RefusedError
) -> None:
    attempts = max(notice.attempts for notice in notices)
    reason = str(refused)[:2000]
    logger.warning("a mail was refused: %s", reason)
    if refused.permanent or attempts > len(RETRY_SECONDS):
        rows.update(status=NoticeStatus.FAILED, last_error=reason)
        return
    delay = timedelta(seconds=RETRY_SECONDS[attempts - 1])
    rows.update(
        status=NoticeStatus.WAITING,
        not_before=Now() + delay,
        claimed_at=None,
        last_error=reason,
    )


def _send(message: EmailMessage) -> None:
    """Hand a mail to the server; raises RefusedError if it surely took nothing."""
    connection = get_connection()
    try:
        connection.open()
    except (SMTPException, OSError) as error:
        raise RefusedError(
            f"no server ({type(error).__name__})", permanent=False
        ) from None
    try:
        connection.send_messages([message])
    except SMTPRecipientsRefused as error:
        codes = [code for code, _text in error.recipients.values()]
        lasting = all(code >= _PERMANENT for code in codes)
        raise RefusedError(f"recipient refused {codes}", permanent=lasting) from None
    except SMTPResponseException as error:
        lasting = error.smtp_code >= _PERMANENT
        raise RefusedError(f"refused {error.smtp_code}", permanent=lasting) from None
    finally:
        _close(connection)


def _close(connection: Any) -> None:
    try:
        connection.close()
    except (SMTPException, OSError):
        logger.info("the mail server did not say goodbye")


def message_of(address: str, notices: Sequence[Notification]) -> EmailMessage:
    """Return the mail that tells all of these, in the installation's language."""
    with translation.override(settings.LANGUAGE_CODE):
        lines = [_line(notice) for notice in notices[:LINES]]
        if len(notices) > LINES:
            more = len(notices) - LINES
            lines.append(ngettext("%d more", "%d more", more) % more)
        subject = _subject_of(notices)
        reason = _("You get this because you asked for it: %s") % _own_page()
    body = "\n\n".join([*lines, f"-- \n{reason}"])
    headers = {"Auto-Submitted": "auto-generated"}
    return EmailMessage(subject, body, to=[address], headers=headers)


def _own_page() -> str:
    try:
        return _url(reverse("admin:langbot_core_notificationpreference_mine"))
    except NoReverseMatch:  # a project without our admin pages
        return _url("")


def _subject_of(notices: Sequence[Notification]) -> str:
    if len(notices) == 1:
        return _one_line(notices[0])
    count = len(notices)
    text = ngettext("%d thing needs you", "%d things need you", count)
    return text % count


def _line(notice: Notification) -> str:
    path = str(notice.context.get("path") or "")
    parts = [f"{_one_line(notice)} ({notice.workspace.name})"]
    return "\n".join([*parts, _url(path)] if path else parts)


def _one_line(notice: Notification) -> str:
    """Return a notice's subject; what others named cannot add a header to a mail."""
    kind = notifications.kind_of(notice.kind)
    try:
        text = str(kind.subject) % notice.context
    except (KeyError, TypeError, ValueError):
        text = notice.get_kind_display()
    return " ".join(text.split())[:200]


def _url(path: str) -> str:
    return urljoin(conf().public_url, path)


class _Sender:
    """One thread of this process that sends, while there is something."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def start(self) -> None:
        """Send what waits, unless that is being done."""
        if self._lock.acquire(blocking=False):
            threading.Thread(target=self._work, name="mail", daemon=True).start()

    def _work(self) -> None:
        try:
            send_waiting()
        except DATABASE_FAILURES:
            logger.exception("sending mails was interrupted")
        finally:
            close_old_connections()
            self._lock.release()


_sender = _Sender()

__all__ = ["message_of", "purge_due", "send_waiting", "sweep"]
