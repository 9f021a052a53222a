import django.db.models.deletion
from django.db import migrations, models

import langbot.lib.ids


class Migration(migrations.Migration):
    dependencies = [("langbot_runners", "0014_sub_runs")]

    operations = [
        migrations.CreateModel(
            name="ClientCall",
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
                    "invocation",
                    models.PositiveSmallIntegerField(verbose_name="invocation"),
                ),
                (
                    "plugin_seq_id",
                    models.BigIntegerField(verbose_name="request number"),
                ),
                ("tool_name", models.CharField(max_length=100, verbose_name="tool")),
                (
                    "parameters",
                    models.JSONField(default=dict, verbose_name="parameters"),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("waiting", "waiting for a client"),
                            ("answered", "answered"),
                            ("expired", "expired"),
                        ],
                        default="waiting",
                        max_length=10,
                        verbose_name="status",
                    ),
                ),
                ("answer", models.JSONField(null=True, verbose_name="answer")),
                (
                    "answered_by",
                    models.CharField(
                        blank=True, max_length=200, verbose_name="answered by"
                    ),
                ),
                (
                    "answered_at",
                    models.DateTimeField(null=True, verbose_name="answered at"),
                ),
                ("expires_at", models.DateTimeField(verbose_name="expires")),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="client_calls",
                        to="langbot_runners.agentrun",
                        verbose_name="run",
                    ),
                ),
            ],
            options={
                "verbose_name": "tool call of a client",
                "verbose_name_plural": "tool calls of clients",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("run", "invocation", "plugin_seq_id"),
                        name="langbot_client_call_once",
                    )
                ],
            },
        ),
    ]
