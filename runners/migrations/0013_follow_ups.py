from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("langbot_runners", "0012_pending_actions")]
    operations = [
        migrations.AddField(
            "queuedmessage",
            "meets",
            models.PositiveBigIntegerField(editable=False, null=True),
        ),
        migrations.AddField(
            "queuedmessage",
            "reason",
            models.CharField(
                blank=True, default="", max_length=200, verbose_name="reason"
            ),
        ),
        migrations.AlterField(
            "queuedmessage",
            "mode",
            models.CharField(
                choices=[
                    ("enqueue", "waits for its turn"),
                    ("steering", "waits for the running run to take it up"),
                    ("interrupt", "stops the run before it"),
                    ("rollback", "stops the run before it and forgets that turn"),
                ],
                default="enqueue",
                max_length=10,
                verbose_name="mode",
            ),
        ),
    ]
