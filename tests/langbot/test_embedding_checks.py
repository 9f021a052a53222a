"""What another project easily forgets is named by id."""

import pytest
from celery import Celery
from django.db import connection

from langbot import checks


@pytest.mark.skipif(connection.vendor != "sqlite", reason="this is about SQLite")
def test_sqlite_needs_immediate_transactions(monkeypatch):
    assert checks.check_sqlite_options() == []
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {})
    [warning] = checks.check_sqlite_options()
    assert warning.id == "langbot.W007"


def test_a_project_without_a_celery_app_is_told(settings, monkeypatch):
    assert checks.check_celery_app() == []
    settings.LANGBOT = {**settings.LANGBOT, "CELERY_APP": ""}
    monkeypatch.setattr(checks, "current_app", Celery("shop", set_as_current=False))
    assert checks.check_celery_app() == []
    forgotten = Celery("default", set_as_current=False)
    monkeypatch.setattr(checks, "current_app", forgotten)
    [warning] = checks.check_celery_app()
    assert warning.id == "langbot.W008"
