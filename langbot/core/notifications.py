"""Tells people by mail, each thing once. `langbot.core.mailing` sends.

An app says what a kind of notice is in `AppConfig.ready()`; workers look every ten
seconds what there is to tell. Where no mail is set up nothing is queued.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import global_settings, settings
from django.db.models.functions import Now
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from langbot.core.models import Workspace
from langbot.core.notices import NoticeKind, Notification, NotificationPreference
from langbot.core.permissions import COST

NO_MAIL = "django.core.mail.backends.dummy.EmailBackend"


@dataclass(frozen=True, slots=True)
class Found:
    """One thing to tell: `key` is its identity, told to a person at most once.

    `context` fills the kind's subject; its `path` is the page's path at this host.
    """

    workspace_id: int
    key: str
    context: Mapping[str, Any]


def _nothing() -> Iterable[Found]:
    return ()


def _always(_key: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of notice.

    `subject` is a %-format of the context. `permission` is what a person needs to be
    told. A notice waits for `wait_seconds`, and goes only if `is_current` still says
    so of its key. `find` returns what there is to tell now, each time it is asked.
    """

    name: NoticeKind
    subject: str | Promise
    permission: str
    wait_seconds: float = 0.0
    is_current: Callable[[str], bool] = _always
    find: Callable[[], Iterable[Found]] = _nothing


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Say what a kind is; a second registration replaces the first."""
    _kinds[kind.name] = kind


def kind_of(name: str) -> Kind:
    """Return a registered kind; raises KeyError."""
    return _kinds[name]


register(
    Kind(
        NoticeKind.BUDGET,
        subject=_("The budget %(budget)s is at %(percent)s %%"),
        permission=COST,
    )
)


def is_configured() -> bool:
    """Whether mail can leave: a backend that sends, and a sender of one's own.

    Django's own default sender is refused by most servers, so it counts as none.
    """
    is_own = settings.DEFAULT_FROM_EMAIL != global_settings.DEFAULT_FROM_EMAIL
    return is_own and settings.EMAIL_BACKEND != NO_MAIL


def mail_address_of(person: Any) -> str:
    """Return where a person gets mail, whatever the user model; empty for nowhere."""
    return str(getattr(person, person.get_email_field_name(), "") or "")


def notify(
    workspace: Workspace | int,
    kind: str,
    key: str,
    subject_context: Mapping[str, Any],
) -> None:
    """Tell everybody who wants to know of this kind, at most once per key and person.

    Writes rows and sends nothing: call it in any transaction, as often as you like.
    `subject_context` has the names of the kind's subject (`budget` and `percent` for
    a budget) and may have `path`, the path of a page to look at.
    """
    place = workspace.pk if isinstance(workspace, Workspace) else workspace
    tell(kind_of(kind), [Found(place, key, subject_context)])


def tell(kind: Kind, found: Iterable[Found]) -> None:
    """Queue what nobody was told yet, in three statements at most."""
    new = list(found)
    if not new or not is_configured():
        return
    wanted = _wanted_by(kind, {one.workspace_id for one in new})
    rows = [
        Notification(
            workspace_id=one.workspace_id,
            recipient_id=user,
            kind=kind.name,
            key=one.key[:200],
            context=dict(one.context),
            not_before=Now() + timedelta(seconds=kind.wait_seconds),
        )
        for one in new
        for user in wanted.get(one.workspace_id, ())
    ]
    known = _known(kind, [row.key for row in rows])
    fresh = [row for row in rows if (row.key, row.recipient_id) not in known]
    Notification.objects.bulk_create(fresh, ignore_conflicts=True)


def tell_all() -> None:
    """Ask every kind what there is to tell; nothing while nobody wants to know."""
    if not is_configured() or not NotificationPreference.objects.exists():
        return
    for kind in list(_kinds.values()):
        tell(kind, kind.find())


def _wanted_by(kind: Kind, workspaces: set[int]) -> dict[int, list[int]]:
    rows = NotificationPreference.objects.filter(
        workspace__in=workspaces, user__is_active=True, **{kind.name: True}
    )
    people: dict[int, list[int]] = {}
    for place, user in rows.values_list("workspace_id", "user_id"):
        people.setdefault(place, []).append(user)
    return people


def _known(kind: Kind, keys: list[str]) -> set[tuple[str, int]]:
    if not keys:
        return set()
    rows = Notification.objects.filter(kind=kind.name, key__in=set(keys))
    return set(rows.values_list("key", "recipient_id"))


__all__ = [
    "Found",
    "Kind",
    "is_configured",
    "kind_of",
    "notify",
    "register",
    "tell",
    "tell_all",
]
