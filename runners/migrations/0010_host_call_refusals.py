from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("langbot_runners", "0009_remote_runtimes")]

    operations = [
        migrations.CreateModel(
            name="HostCallRefusal",
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
                ("action", models.CharField(max_length=50, verbose_name="action")),
                ("code", models.CharField(max_length=50, verbose_name="reason")),
                ("count", models.PositiveBigIntegerField(verbose_name="times")),
                (
                    "plugin",
                    models.CharField(
                        blank=True,
                        help_text="Empty for a plugin of another workspace.",
                        max_length=200,
                        verbose_name="last called by",
                    ),
                ),
                ("first_at", models.DateTimeField(verbose_name="first time")),
                ("last_at", models.DateTimeField(verbose_name="last time")),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=models.deletion.CASCADE,
                        related_name="refusals",
                        to="langbot_runners.agentrun",
                        verbose_name="run",
                    ),
                ),
            ],
            options={
                "verbose_name": "refused host call",
                "verbose_name_plural": "refused host calls",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("run", "action", "code"), name="langbot_refusal_once"
                    )
                ],
            },
        )
    ]
