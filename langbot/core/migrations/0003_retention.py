import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("langbot_core", "0002_permissions_and_audit_seals")]

    operations = [
        migrations.CreateModel(
            name="WorkspaceRetention",
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
                    "run_days",
                    models.PositiveIntegerField(
                        default=90,
                        help_text=(
                            "Ended runs with their details, the events that began"
                            " them, deliveries, decisions and messages that "
                            "waited. 0 keeps them for good."
                        ),
                        validators=[django.core.validators.MaxValueValidator(36500)],
                        verbose_name="runs and events (days)",
                    ),
                ),
                (
                    "message_days",
                    models.PositiveIntegerField(
                        default=0,
                        help_text=(
                            "What people and agents said, and conversations that "
                            "are empty then. 0 keeps them for good."
                        ),
                        validators=[django.core.validators.MaxValueValidator(36500)],
                        verbose_name="messages (days)",
                    ),
                ),
                (
                    "file_days",
                    models.PositiveIntegerField(
                        default=0,
                        help_text=(
                            "Files that have no end of their own. 0 keeps them "
                            "for good."
                        ),
                        validators=[django.core.validators.MaxValueValidator(36500)],
                        verbose_name="files (days)",
                    ),
                ),
                (
                    "state_days",
                    models.PositiveIntegerField(
                        default=0,
                        help_text=(
                            "Values that nobody wrote for so long. 0 keeps them "
                            "for good."
                        ),
                        validators=[django.core.validators.MaxValueValidator(36500)],
                        verbose_name="runner state and plugin storage (days)",
                    ),
                ),
                (
                    "usage_days",
                    models.PositiveIntegerField(
                        default=400,
                        help_text=(
                            "What model calls used and cost. 0 keeps them for good."
                        ),
                        validators=[django.core.validators.MaxValueValidator(36500)],
                        verbose_name="usage and cost (days)",
                    ),
                ),
                (
                    "audit_days",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text=(
                            "Empty: what LANGBOT_AUDIT_DAYS says. 0 keeps it for good."
                        ),
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(36500)],
                        verbose_name="audit log (days)",
                    ),
                ),
                (
                    "workspace",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="retention",
                        to="langbot_core.workspace",
                        verbose_name="workspace",
                    ),
                ),
            ],
            options={
                "verbose_name": "retention",
                "verbose_name_plural": "retention",
            },
        ),
    ]
