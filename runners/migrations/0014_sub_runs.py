from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("langbot_runners", "0013_follow_ups")]
    operations = [
        migrations.AddField(
            "transcriptitem",
            "superseded_at",
            models.DateTimeField(editable=False, null=True, verbose_name="replaced"),
        ),
    ]
