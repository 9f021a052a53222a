import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import langbot.lib.ids


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("langbot_agents", "0006_control_plane_right"),
        ("langbot_runners", "0011_lists"),
    ]

    operations = [
        migrations.CreateModel(
            name="PendingAction",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "public_id",
                    models.UUIDField(
                        default=langbot.lib.ids.uuid7,
                        editable=False,
                        unique=True,
                        verbose_name="id",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(auto_now_add=True, verbose_name="created"),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("approval", "approval"), ("question", "question")],
                        max_length=10,
                        verbose_name="kind",
                    ),
                ),
                (
                    "tool_call_id",
                    models.CharField(max_length=200, verbose_name="tool call"),
                ),
                (
                    "tool_name",
                    models.CharField(blank=True, max_length=200, verbose_name="tool"),
                ),
                ("arguments", models.JSONField(default=dict, verbose_name="arguments")),
                (
                    "reason",
                    models.CharField(
                        blank=True, max_length=1000, verbose_name="reason"
                    ),
                ),
                ("form", models.JSONField(null=True, verbose_name="form")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("open", "open"),
                            ("approved", "approved"),
                            ("rejected", "rejected"),
                            ("edited", "approved with changes"),
                            ("responded", "answered by a person"),
                            ("expired", "expired"),
                            ("cancelled", "cancelled"),
                        ],
                        default="open",
                        max_length=10,
                        verbose_name="status",
                    ),
                ),
                ("expires_at", models.DateTimeField(verbose_name="expires")),
                (
                    "invocation",
                    models.PositiveSmallIntegerField(
                        default=1, verbose_name="invocation"
                    ),
                ),
                (
                    "plugin_seq_id",
                    models.BigIntegerField(null=True, verbose_name="request number"),
                ),
                (
                    "parked",
                    models.BooleanField(
                        default=False, verbose_name="its run is paused"
                    ),
                ),
                (
                    "decided_by_name",
                    models.CharField(
                        blank=True, max_length=200, verbose_name="who decided"
                    ),
                ),
                ("decided_at", models.DateTimeField(null=True, verbose_name="decided")),
                ("decision", models.JSONField(null=True, verbose_name="decision")),
                ("answer", models.JSONField(null=True, verbose_name="answer")),
                (
                    "settled_at",
                    models.DateTimeField(null=True, verbose_name="carried out"),
                ),
                ("node", models.UUIDField(null=True, verbose_name="worker")),
                (
                    "agent",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="pending_actions",
                        to="langbot_agents.agent",
                        verbose_name="agent",
                    ),
                ),
                (
                    "conversation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="pending_actions",
                        to="langbot_runners.conversation",
                        verbose_name="conversation",
                    ),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="decided by",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="pending_actions",
                        to="langbot_runners.agentrun",
                        verbose_name="run",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="pending_actions",
                        to="langbot_core.workspace",
                        verbose_name="workspace",
                    ),
                ),
            ],
            options={
                "verbose_name": "pending action",
                "verbose_name_plural": "inbox",
                "ordering": ["-pk"],
            },
        ),
        migrations.CreateModel(
            name="ToolGrant",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "public_id",
                    models.UUIDField(
                        default=langbot.lib.ids.uuid7,
                        editable=False,
                        unique=True,
                        verbose_name="id",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(auto_now_add=True, verbose_name="created"),
                ),
                ("tool_name", models.CharField(max_length=200, verbose_name="tool")),
                (
                    "granted_by_name",
                    models.CharField(max_length=200, verbose_name="allowed by"),
                ),
                ("revoked_at", models.DateTimeField(null=True, verbose_name="revoked")),
                (
                    "revoked_by_name",
                    models.CharField(
                        blank=True, max_length=200, verbose_name="revoked by"
                    ),
                ),
                (
                    "action",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="grants",
                        to="langbot_runners.pendingaction",
                        verbose_name="decision",
                    ),
                ),
                (
                    "agent",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tool_grants",
                        to="langbot_agents.agent",
                        verbose_name="agent",
                    ),
                ),
                (
                    "conversation",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tool_grants",
                        to="langbot_runners.conversation",
                        verbose_name="conversation",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="langbot_core.workspace",
                        verbose_name="workspace",
                    ),
                ),
            ],
            options={
                "verbose_name": "allowed tool",
                "verbose_name_plural": "allowed tools",
                "ordering": ["-pk"],
            },
        ),
        migrations.AddIndex(
            model_name="pendingaction",
            index=models.Index(
                fields=["workspace", "status", "-id"], name="langbot_action_inbox"
            ),
        ),
        migrations.AddIndex(
            model_name="pendingaction",
            index=models.Index(
                condition=models.Q(("status", "open")),
                fields=["expires_at"],
                name="langbot_action_expiry",
            ),
        ),
        migrations.AddIndex(
            model_name="pendingaction",
            index=models.Index(
                condition=models.Q(
                    ("decided_at__isnull", False),
                    ("parked", True),
                    ("settled_at__isnull", True),
                ),
                fields=["id"],
                name="langbot_action_undone",
            ),
        ),
        migrations.AddConstraint(
            model_name="pendingaction",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "open")),
                fields=("run", "tool_call_id"),
                name="langbot_action_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="pendingaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "status__in",
                        [
                            "open",
                            "approved",
                            "rejected",
                            "edited",
                            "responded",
                            "expired",
                            "cancelled",
                        ],
                    )
                ),
                name="langbot_action_status",
            ),
        ),
    ]
