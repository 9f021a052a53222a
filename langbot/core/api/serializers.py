"""What tokens, service accounts and audit entries look like to clients."""

from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from langbot.core.fields import TextField
from langbot.core.models import ApiToken, AuditLog, ServiceAccount
from langbot.core.rest import StrictModelSerializer
from langbot.core.tokens import SCOPES, may_give


class TokenSerializer(StrictModelSerializer[ApiToken]):
    id = serializers.UUIDField(source="public_id", read_only=True)
    workspace: Any = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    scopes: Any = serializers.ListField(
        child=serializers.ChoiceField(SCOPES),
        required=False,
        help_text="None means all; `metrics` is for superusers to give.",
    )

    class Meta:
        model = ApiToken
        fields = [
            "id",
            "label",
            "prefix",
            "scopes",
            "workspace",
            "expires_at",
            "last_used_at",
            "revoked_at",
            "created_at",
        ]
        read_only_fields = ["prefix", "last_used_at", "revoked_at", "created_at"]

    def validate_scopes(self, value: list[str]) -> list[str]:
        if not may_give(self.context["request"].user, value):
            raise serializers.ValidationError(_("Only superusers give this scope."))
        return value

    def validate_expires_at(self, value: datetime | None) -> datetime | None:
        if value is not None and value <= datetime.now(UTC):
            raise serializers.ValidationError(_("This time is over."))
        return value


class TokenLabelSerializer(TokenSerializer):
    """A token that exists: what it grants was fixed when it was made."""

    class Meta(TokenSerializer.Meta):
        read_only_fields = [
            name for name in TokenSerializer.Meta.fields if name != "label"
        ]

    scopes: Any = serializers.ListField(
        child=serializers.ChoiceField(SCOPES), read_only=True
    )


class NewTokenSerializer(TokenSerializer):
    """A token just made: the only answer with its plain text."""

    token = serializers.CharField(read_only=True, help_text="Shown once.")

    class Meta(TokenSerializer.Meta):
        fields = ["token", *TokenSerializer.Meta.fields]


class GroupNames(serializers.ListField):
    """The names of an account's groups, which are its user's."""

    child = TextField(max_length=150)

    def get_attribute(self, instance: ServiceAccount) -> list[str]:
        user: Any = instance.user
        return sorted(group.name for group in user.groups.all())


class AccountSerializer(StrictModelSerializer[ServiceAccount]):
    id = serializers.UUIDField(source="public_id", read_only=True)
    username = serializers.CharField(source="user.get_username", read_only=True)
    groups = GroupNames(
        max_length=50, required=False, help_text="They say what its tokens may do."
    )
    workspace: Any = serializers.SlugRelatedField(slug_field="slug", read_only=True)

    class Meta:
        model = ServiceAccount
        fields = [
            "id",
            "name",
            "description",
            "username",
            "groups",
            "workspace",
            "created_at",
        ]
        read_only_fields = ["created_at"]


class AuditSerializer(serializers.ModelSerializer[AuditLog]):
    id = serializers.IntegerField(source="pk")
    before = serializers.SerializerMethodField()
    after = serializers.SerializerMethodField()

    class Meta:
        model = AuditLog
        fields = [
            "id",
            "actor",
            "source",
            "action",
            "object_type",
            "object_id",
            "before",
            "after",
            "created_at",
        ]

    @extend_schema_field(serializers.DictField(allow_null=True))
    def get_before(self, entry: AuditLog) -> Any:
        return entry.before

    @extend_schema_field(serializers.DictField(allow_null=True))
    def get_after(self, entry: AuditLog) -> Any:
        return entry.after
