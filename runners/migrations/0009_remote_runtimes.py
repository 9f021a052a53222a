import django.db.models.deletion
from django.db import migrations, models

import langbot.lib.ids


class Migration(migrations.Migration):
    dependencies = [
        ("langbot_agents", "0006_control_plane_right"),
        ("langbot_core", "0002_permissions_and_audit_seals"),
        ("langbot_runners", "0008_host_call_status"),
    ]

    operations = [
        migrations.AddField(
            "agentrun",
            "claim_lease_expires_at",
            models.DateTimeField(null=True, verbose_name="lease of its remote runtime"),
        ),
        migrations.AddField(
            "agentrun",
            "dispatch_attempts",
            models.PositiveIntegerField(default=0, verbose_name="times dispatched"),
        ),
        migrations.AddField(
            "agentrun",
            "last_claimed_at",
            models.DateTimeField(null=True, verbose_name="last dispatched"),
        ),
        migrations.AddField(
            "agentrun",
            "priority",
            models.SmallIntegerField(default=0, verbose_name="priority"),
        ),
        migrations.AddField(
            "agentrun",
            "queue_name",
            models.CharField(
                blank=True, default="", max_length=50, verbose_name="queue"
            ),
        ),
        migrations.CreateModel(
            "RemoteRuntime",
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
                    "runtime_id",
                    models.CharField(max_length=200, verbose_name="runtime"),
                ),
                ("plugin", models.CharField(max_length=200, verbose_name="plugin")),
                ("connection_id", models.UUIDField(verbose_name="plugin connection")),
                (
                    "display_name",
                    models.CharField(blank=True, max_length=200, verbose_name="name"),
                ),
                (
                    "endpoint",
                    models.CharField(
                        blank=True, max_length=500, verbose_name="endpoint"
                    ),
                ),
                (
                    "version",
                    models.CharField(blank=True, max_length=50, verbose_name="version"),
                ),
                (
                    "capabilities",
                    models.JSONField(default=dict, verbose_name="capabilities"),
                ),
                ("labels", models.JSONField(default=dict, verbose_name="labels")),
                ("metadata", models.JSONField(default=dict, verbose_name="metadata")),
                (
                    "status",
                    models.CharField(
                        default="online", max_length=20, verbose_name="what it says"
                    ),
                ),
                (
                    "heartbeat_at",
                    models.DateTimeField(verbose_name="last heartbeat"),
                ),
                (
                    "heartbeat_deadline_at",
                    models.DateTimeField(verbose_name="next heartbeat at the latest"),
                ),
                (
                    "token",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="runtimes",
                        to="langbot_agents.plugintoken",
                        verbose_name="plugin token",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        help_text="Empty: it takes runs of every workspace.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="langbot_core.workspace",
                        verbose_name="workspace",
                    ),
                ),
            ],
            options={
                "verbose_name": "remote runtime",
                "verbose_name_plural": "remote runtimes",
                "ordering": ["-pk"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("workspace", "runtime_id"), name="langbot_runtime_once"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("workspace", None)),
                        fields=("runtime_id",),
                        name="langbot_runtime_once_of_all",
                    ),
                ],
            },
        ),
    ]
