"""Tenants, access and the audit trail."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from langbot.core.notices import Notification, NotificationPreference
from langbot.core.periods import WorkspaceRetention
from langbot.lib.models import (
    AppendOnlyModel,
    AppendOnlyQuerySet,
    NaturalKeyModel,
    NaturalKeyQuerySet,
    PublicModel,
)


class Workspace(PublicModel, NaturalKeyModel):
    """The tenant boundary of every other row."""

    NATURAL_KEY = ("slug",)

    slug = models.SlugField(_("slug"), unique=True)
    name = models.CharField(_("name"), max_length=200)

    objects = NaturalKeyQuerySet["Workspace"].as_manager()

    class Meta:
        verbose_name = _("workspace")
        verbose_name_plural = _("workspaces")
        ordering = ["name"]
        permissions = [("manage_secrets", "Can write keys and other secrets")]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user's place in a workspace."""

    class Role(models.TextChoices):
        ADMIN = "admin", _("admin")
        MEMBER = "member", _("member")

    workspace = models.ForeignKey(
        Workspace,
        models.CASCADE,
        related_name="memberships",
        verbose_name=_("workspace"),
        db_index=False,  # `langbot_membership_once` begins with it
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        related_name="langbot_memberships",
        verbose_name=_("user"),
    )
    role = models.CharField(
        _("role"), max_length=10, choices=Role.choices, default=Role.MEMBER
    )

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "user"], name="langbot_membership_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.workspace}"


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def active(self) -> "ApiTokenQuerySet":
        """Tokens that authenticate now, by the database's clock."""
        return self.filter(
            Q(expires_at=None) | Q(expires_at__gt=Now()),
            revoked_at=None,
            user__is_active=True,
        )


class ApiToken(PublicModel):
    """A bearer token of a user, stored as a hash; shown once when made."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        related_name="langbot_tokens",
        verbose_name=_("user"),
    )
    workspace = models.ForeignKey(
        Workspace, models.CASCADE, related_name="tokens", verbose_name=_("workspace")
    )
    label = models.CharField(_("label"), max_length=100)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    prefix = models.CharField(_("begins with"), max_length=16, editable=False)
    scopes = models.JSONField(_("scopes"), default=list, blank=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked"), null=True, editable=False)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.label} ({self.prefix}…)"


class ServiceAccount(PublicModel):
    """Marks a user that programs act as: no password, no admin, one workspace.

    Made by `langbot.core.accounts`; its groups say what its tokens may do.
    """

    workspace = models.ForeignKey(
        Workspace,
        models.CASCADE,
        related_name="service_accounts",
        verbose_name=_("workspace"),
        db_index=False,  # `langbot_service_account_once` begins with it
    )
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        related_name="langbot_service_account",
        verbose_name=_("user"),
    )
    name = models.SlugField(_("name"))
    description = models.CharField(_("description"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("service account")
        verbose_name_plural = _("service accounts")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "name"], name="langbot_service_account_once"
            )
        ]

    def __str__(self) -> str:
        return self.name


class RoleGrant(models.Model):
    """A permission that a group of ours was given once (`langbot.core.roles`).

    What an admin takes away again stays taken: it is not granted twice.
    """

    role = models.CharField(max_length=50)
    permission = models.CharField(max_length=200)

    class Meta:
        verbose_name = _("granted permission")
        verbose_name_plural = _("granted permissions")
        constraints = [
            models.UniqueConstraint(
                fields=["role", "permission"], name="langbot_role_grant_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.role}: {self.permission}"


class AuditSealQuerySet(AppendOnlyQuerySet["AuditSeal"]):
    def empty(self, now: datetime) -> int:
        """Forget the digests of segments whose rows retention has removed."""
        return models.QuerySet.update(self, digests=None, purged_at=now)


class AuditSeal(AppendOnlyModel):
    """One sealed segment of a workspace's audit log, chained to the one before.

    `digests` are `[row id, SHA-256]` in order; `hash` covers them and the hash of the
    seal before. Retention empties `digests` with the rows, the hash stays.
    """

    workspace = models.ForeignKey(
        Workspace,
        models.PROTECT,
        null=True,
        related_name="audit_seals",
        verbose_name=_("workspace"),
        db_index=False,  # `langbot_audit_seal_once` begins with it
    )
    number = models.PositiveIntegerField(_("number"))
    previous_hash = models.CharField(_("hash before"), max_length=64, blank=True)
    hash = models.CharField(_("hash"), max_length=64)
    count = models.PositiveIntegerField(_("entries"))
    digests: Any = models.JSONField(_("digests"), null=True)
    last_at = models.DateTimeField(_("latest entry"))
    created_at = models.DateTimeField(_("sealed"), auto_now_add=True)
    purged_at = models.DateTimeField(_("removed by retention"), null=True)

    objects = AuditSealQuerySet.as_manager()

    class Meta:
        verbose_name = _("audit seal")
        verbose_name_plural = _("audit seals")
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "number"], name="langbot_audit_seal_once"
            ),
            # NULL is not equal to itself: acts outside of workspaces have one chain
            models.UniqueConstraint(
                fields=["number"],
                condition=Q(workspace=None),
                name="langbot_audit_seal_host",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.workspace or '*'} {self.number}"


class AuditLogQuerySet(AppendOnlyQuerySet["AuditLog"]):
    def seal_with(self, seal: AuditSeal) -> int:
        """Put unsealed rows into a segment: the one change a row ever sees."""
        return models.QuerySet.update(self.filter(seal=None), seal=seal)

    def rewrite(self, **values: Any) -> int:
        """Replace what rows say of a person (`langbot.core.audit_erasing`, only it)."""
        return models.QuerySet.update(self, **values)


class AuditLog(AppendOnlyModel):
    """One act of a person or one configuration change, before and after."""

    workspace = models.ForeignKey(
        Workspace,
        models.PROTECT,
        null=True,
        related_name="audit",
        verbose_name=_("workspace"),
        db_index=False,  # `langbot_audit_workspace` begins with it
    )
    actor = models.CharField(_("actor"), max_length=200)
    source = models.CharField(
        _("source"),
        max_length=100,
        blank=True,
        help_text=_("The door: admin, rest, command …, host."),
    )
    action = models.CharField(_("action"), max_length=100)
    object_type = models.CharField(_("object type"), max_length=100)
    object_id = models.CharField(_("object"), max_length=100)
    before = models.JSONField(_("before"), null=True)
    after = models.JSONField(_("after"), null=True)
    created_at = models.DateTimeField(_("time"), auto_now_add=True)
    # Set once, by the sealing sweep; not part of what is hashed.
    seal = models.ForeignKey(
        AuditSeal,
        models.PROTECT,
        null=True,
        editable=False,
        related_name="rows",
        verbose_name=_("seal"),
    )

    objects = AuditLogQuerySet.as_manager()

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        ordering = ["-pk"]
        indexes = [
            # "what happened to this object" on its history page
            models.Index(
                fields=["object_type", "object_id", "-id"], name="langbot_audit_object"
            ),
            models.Index(fields=["workspace", "-id"], name="langbot_audit_workspace"),
            # what the sealing sweep asks for every minute; nearly always empty
            models.Index(
                fields=["workspace", "id"],
                condition=Q(seal=None),
                name="langbot_audit_unsealed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.object_type} {self.object_id}"


class IdempotencyKey(models.Model):
    """The stored answer of a POST, replayed for 24 h to a repeat of the same key."""

    owner = models.CharField(max_length=80)
    key = models.CharField(max_length=200)
    request_hash = models.CharField(max_length=64)
    status_code = models.PositiveSmallIntegerField(null=True)
    answer: Any = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        verbose_name = _("idempotency key")
        verbose_name_plural = _("idempotency keys")
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "key"], name="langbot_idempotency_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.owner} {self.key}"


class Lease(models.Model):
    """A named lease: one holder until it expires, by the database's clock.

    Taken by compare-and-set; a holder that does not renew loses it. Ticks and sweeps
    run under one, so that any number of processes may try.
    """

    name = models.CharField(max_length=100, primary_key=True)
    holder = models.CharField(max_length=64, blank=True)
    expires_at = models.DateTimeField()

    class Meta:
        verbose_name = _("lease")
        verbose_name_plural = _("leases")

    def __str__(self) -> str:
        return f"{self.name}: {self.holder}"


__all__ = [
    "ApiToken",
    "ApiTokenQuerySet",
    "AuditLog",
    "AuditLogQuerySet",
    "AuditSeal",
    "AuditSealQuerySet",
    "IdempotencyKey",
    "Lease",
    "Membership",
    "Notification",
    "NotificationPreference",
    "RoleGrant",
    "ServiceAccount",
    "Workspace",
    "WorkspaceRetention",
]
