"""The Celery app that tests of waking name in their settings."""

from celery import Celery

app = Celery("wakes", set_as_current=False)
