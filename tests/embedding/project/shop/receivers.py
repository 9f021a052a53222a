from django.dispatch import receiver

from runners.signals import run_finished
from shop.models import FinishedRun


@receiver(run_finished)
def note_finished_run(run_id, status, **_):
    FinishedRun.objects.get_or_create(run_id=run_id, defaults={"status": status})
