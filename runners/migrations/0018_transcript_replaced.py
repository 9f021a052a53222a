from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("langbot_runners", "0017_run_stream_cuts")]

    operations = [
        migrations.AddIndex(
            model_name="transcriptitem",
            index=models.Index(
                condition=Q(superseded_at__isnull=False),
                fields=["conversation"],
                name="langbot_transcript_replaced",
            ),
        ),
    ]
