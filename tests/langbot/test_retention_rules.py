"""Every table that grows has somebody who empties it, or a reason to keep its rows."""

import os
import time
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command

from langbot.core import retention
from langbot.core.models import AuditLog, Workspace
from langbot.core.periods import WorkspaceRetention
from tests.factories import WorkspaceFactory


def our_models():
    """Name the tables of the host; those between two others go with their rows."""
    models = [
        model
        for model in apps.get_models()
        if model._meta.app_label.startswith("langbot_")
    ]
    return {model._meta.label for model in models}


def ruled():
    return {label for rule in retention.rules() for label in rule.models}


def test_every_model_has_a_rule_or_a_reason():
    assert our_models() - ruled() - retention.kept().keys() == set()


def test_rules_and_reasons_name_models_and_never_the_same():
    known = our_models() | {"sessions.Session"}
    assert ruled() <= known
    assert retention.kept().keys() <= known
    assert ruled() & retention.kept().keys() == set()
    assert all(retention.kept().values())


@pytest.mark.django_db
def test_periods_are_those_of_each_workspace_or_the_defaults(workspace):
    never, own = (WorkspaceFactory.create(slug=one) for one in ("never", "own"))
    WorkspaceRetention.objects.create(workspace=never, run_days=0)
    WorkspaceRetention.objects.create(workspace=own, run_days=7, message_days=3)
    runs = retention.due_before("run_days")
    assert runs.keys() == {workspace.pk, own.pk}
    assert (runs[own.pk] - runs[workspace.pk]).days == 83
    assert retention.due_before("message_days").keys() == {own.pk}


@pytest.mark.django_db
def test_old_rows_are_walked_in_batches_and_no_further(monkeypatch, workspace):
    monkeypatch.setattr(retention, "BATCH", 3)
    made = [WorkspaceFactory.create() for _ in range(8)]
    rows = Workspace.objects.filter(pk__in=[one.pk for one in made])
    young = made[7].created_at
    assert list(retention.old_rows(rows, young)) == [
        [one.pk for one in made[:3]],
        [one.pk for one in made[3:6]],
        [made[6].pk],
    ]
    assert list(retention.old_rows(rows, made[0].created_at)) == []


@pytest.mark.django_db
def test_a_rule_that_fails_is_told_and_keeps_no_other_from_its_work(monkeypatch):
    done = []

    def broken():
        raise ValueError("broken")

    def work():
        done.append(1)
        return 1

    rules = {
        "a broken one": retention.Rule("a broken one", broken, 1, frozenset()),
        "next": retention.Rule("next", work, 2, frozenset()),
    }
    monkeypatch.setattr(retention, "_rules", rules)
    output = StringIO()
    with pytest.raises(CommandError, match="a broken one"):
        call_command("prune", stdout=output)
    assert output.getvalue().splitlines() == ["a broken one: failed", "next: 1"]
    assert done == [1]
    assert AuditLog.objects.get(action="pruned").after == {
        "a broken one": -1,
        "next": 1,
    }


@pytest.mark.django_db
def test_periods_are_set_on_the_page_of_the_workspace(admin_client, workspace):
    page = f"/admin/langbot_core/workspace/{workspace.pk}/change/"
    form = {
        "name": workspace.name,
        "slug": workspace.slug,
        "memberships-TOTAL_FORMS": 0,
        "memberships-INITIAL_FORMS": 0,
        "retention-TOTAL_FORMS": 1,
        "retention-INITIAL_FORMS": 0,
        "retention-0-workspace": workspace.pk,
        **{f"retention-0-{name}_days": 11 for name in ("run", "message", "file")},
        **{f"retention-0-{name}_days": 12 for name in ("state", "usage")},
        "retention-0-audit_days": "",
    }
    answer = admin_client.post(page, form)
    assert answer.status_code == 302, answer.context["errors"]
    stored = WorkspaceRetention.objects.get()
    assert (stored.run_days, stored.usage_days, stored.audit_days) == (11, 12, None)
    kinds = AuditLog.objects.values_list("object_type", flat=True)
    assert "langbot_core.workspaceretention" in kinds


def test_log_files_go_after_a_month_and_nothing_beside_them(tmp_path, settings):
    settings.LANGBOT = {**settings.LANGBOT, "DATA_DIR": tmp_path}
    logs = tmp_path / "logs"
    logs.mkdir()
    now = time.time()
    days = {"a-2026-01-01.log": 31, "b-2026-01-01.log.1": 31, "c.log": 29, "d.txt": 99}
    for name, age in days.items():
        (logs / name).write_text("x")
        os.utime(logs / name, (now, now - age * 86_400))
    assert retention.purge_logs() == 2
    assert {path.name for path in logs.iterdir()} == {"c.log", "d.txt"}
    assert retention.purge_logs() == 0
