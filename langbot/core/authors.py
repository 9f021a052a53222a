"""Who acts, through which door, and with which power over secrets.

Services take an author and hand it on to the audit log. A plain name is as good: it
counts as the host's own act.
"""

import getpass
from collections.abc import Mapping
from typing import Any, Self

from django.core.exceptions import PermissionDenied

# Doors through which people change things (`AuditLog.source`).
ADMIN, REST, COMMAND, HOST = "admin", "rest", "command", "host"


class Author(str):
    """The name of who acts; `source` is the door: admin, rest:<token>, command …"""

    source: str
    may_write_secrets: bool

    __slots__ = ("may_write_secrets", "source")

    def __new__(cls, name: str, source: str, *, may_write_secrets: bool = True) -> Self:
        author = super().__new__(cls, name)
        author.source = source
        author.may_write_secrets = may_write_secrets
        return author


def command_author(command: str) -> Author:
    """Return who runs a command: the account of the operating system."""
    return Author(getpass.getuser(), f"{COMMAND} {command}")


def check_secrets(
    author: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> None:
    """Raise PermissionDenied when secrets change by the hand of who may not.

    Call it where a service knows the stored secrets and the wanted ones.
    """
    if (before or {}) == (after or {}) or getattr(author, "may_write_secrets", True):
        return
    message = "writing secrets takes the permission manage_secrets"
    raise PermissionDenied(message)
