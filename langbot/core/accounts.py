"""Service accounts: users that programs act as, with tokens and without a password."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from langbot.core.audit import record_act, state_of
from langbot.core.models import Membership, ServiceAccount, Workspace


def create_service_account(
    workspace: Workspace,
    name: str,
    *,
    author: str,
    groups: Iterable[str] = (),
    description: str = "",
) -> ServiceAccount:
    """Make a user `name@workspace` that only tokens open, a member of one workspace.

    `groups` are names of groups and say what it may do. Raises ValidationError for a
    name that is taken or malformed and for an unknown group; see `may_act_as` for
    whose rights it may be given.
    """
    account = ServiceAccount(workspace=workspace, name=name, description=description)
    account.full_clean(exclude=["user"])
    try:
        with transaction.atomic():
            account.user = _create_user(f"{name}@{workspace.slug}")
            account.user.groups.set(_groups(groups))
            account.save()
            Membership.objects.create(workspace=workspace, user=account.user)
            after = {**state_of(account), "groups": sorted(groups)}
            record_act(author, "created", account, before={}, after=after)
    except IntegrityError:
        message = _("There is a user of this name.")
        raise ValidationError({"name": message}) from None
    return account


def remove_service_account(account: ServiceAccount, *, author: str) -> None:
    """Close an account: its user is switched off and its tokens end; records stay."""
    with transaction.atomic():
        record_act(author, "deleted", account, before=state_of(account))
        user: Any = account.user
        get_user_model()._default_manager.filter(pk=user.pk).update(is_active=False)
        Membership.objects.filter(user=user).delete()
        account.delete()


def may_act_as(maker: Any, user: Any) -> bool:
    """Whether `maker` may hold a token of `user`: their own, or one with fewer rights.

    Anything else would be a way to rights that nobody gave them.
    """
    if maker.is_superuser or maker.pk == user.pk:
        return True
    if user.is_superuser:
        return False
    return bool(user.get_all_permissions() <= maker.get_all_permissions())


def may_grant(maker: Any, groups: Iterable[str]) -> bool:
    """Whether `maker` has every permission of these groups."""
    if maker.is_superuser:
        return True
    found = Group.objects.filter(name__in=list(groups)).values_list(
        "permissions__content_type__app_label", "permissions__codename"
    )
    given = {f"{app}.{codename}" for app, codename in found if codename}
    return bool(given <= maker.get_all_permissions())


def _create_user(name: str) -> Any:
    users: Any = get_user_model()
    user = users(**{users.USERNAME_FIELD: name})
    user.set_unusable_password()
    user.save()
    return user


def _groups(names: Iterable[str]) -> list[Group]:
    wanted = list(names)
    found = list(Group.objects.filter(name__in=wanted))
    unknown = sorted(set(wanted) - {group.name for group in found})
    if unknown:
        message = _("Unknown: %s") % ", ".join(unknown)
        raise ValidationError({"groups": message})
    return found
