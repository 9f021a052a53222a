"""What a client's token opens now, and where its run stands."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from langbot.core.audit import record_act
from langbot.core.models import ApiToken, Membership
from langbot.core.permissions import CANCEL_RUN
from langbot.lib.ids import read_uuid
from runners.clients.tokens import Holder, InvalidTokenError, read_token
from runners.models import AgentRun
from runners.open_requests import open_requests
from runners.services import request_cancel


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody who may follow a run; `may_act` also to stop it and answer for it."""

    run: AgentRun
    holder: Holder
    name: str
    may_act: bool
    asked: list[dict[str, Any]]  # what the run waits for people to decide

    @property
    def key(self) -> tuple[UUID, str]:
        """Who follows what; one connection of each is kept (LO-01)."""
        return self.run.public_id, self.holder.user_id


def admit_client(run_id: str, token: str) -> Client:
    """Return who may follow the run with this token.

    Raises ExpiredTokenError, and InvalidTokenError for all else: what does not exist
    and what belongs to others look the same (C-39).
    """
    asked = read_uuid(run_id)
    if asked is None:
        raise _invalid()  # the address has no id
    holder = read_token(token, asked)
    run = _runs().filter(public_id=asked, workspace=holder.workspace_id).first()
    person = _person(holder)
    if run is None or person is None or not _is_current(holder):
        raise _invalid()
    name, may_act = str(person.get_username()), person.has_perm(CANCEL_RUN)
    return Client(run, holder, name, may_act, open_requests(run.pk))


def stop_run(client: Client) -> bool:
    """Cancel the run, with an audit entry; False when it has ended already."""
    asked = not has_ended(client.run.pk) and request_cancel(client.run, client.name)
    if asked:
        record_act(client.name, "cancel requested", client.run)
    return asked


def has_ended(run_key: int, position: int | None = None) -> bool:
    """Whether the run has ended, and nothing of it comes after `position`."""
    run = _runs().filter(pk=run_key).first()
    if run is None:
        return True
    is_read = position is None or run.last_seq <= position
    return bool(run.is_terminal and is_read)


def ended_run(run_key: int) -> dict[str, Any]:
    """Return the members of `session_complete`."""
    run = _runs().filter(pk=run_key).first()
    if run is None:
        return {"run_id": None, "status": None, "error_code": None, "last_seq": 0}
    return {
        "run_id": str(run.public_id),
        "status": str(run.status),
        "error_code": run.error_code or None,
        "last_seq": run.last_seq,
    }


def _runs() -> Any:
    return AgentRun.objects.only(
        "public_id", "conversation_id", "status", "node", "last_seq", "error_code"
    )


def _person(holder: Holder) -> Any:
    """Return the token's user if they are still in the workspace."""
    users = get_user_model()._default_manager.filter(is_active=True)
    try:
        person: Any = users.filter(pk=holder.user_id).first()
    except (ValueError, ValidationError):
        return None
    if person is None or person.is_superuser:
        return person
    place = Membership.objects.filter(user=person, workspace=holder.workspace_id)
    return person if place.exists() else None


def _is_current(holder: Holder) -> bool:
    """Whether the API token that was used is still good."""
    if not holder.credential:
        return True
    return ApiToken.objects.active().filter(public_id=holder.credential).exists()


def _invalid() -> InvalidTokenError:
    return InvalidTokenError("the token is not valid")
