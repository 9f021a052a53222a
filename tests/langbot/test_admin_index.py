"""The admin's first page: what it says, what it costs, and to whom."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agents.models import Agent, AgentBinding, ModelProvider, PluginConnection
from agents.models import Model as LanguageModel
from agents.services import save_agent
from platforms.models import Bot
from runners.admin import overview_numbers
from runners.admin.overview import overview_of
from runners.admin.overview_numbers import DAY, HOUR, numbers_of, recent
from runners.models import (
    AgentRun,
    Delivery,
    PendingAction,
    QueuedMessage,
    WorkerNode,
)
from tests.factories import AgentFactory, WorkspaceFactory
from tests.langbot.admin_site_rows import populate
from tests.runners.admin_rows import make_action, make_run

INDEX = "admin:index"


@pytest.fixture
def root(db):
    return get_user_model().objects.create_superuser("root", password="x")


@pytest.fixture
def staff(client, root):
    client.force_login(root)
    return client


@pytest.fixture
def rows(db):
    populate()
    PendingAction.objects.all().delete()


def overview(client, **given):
    answer = client.get(reverse(INDEX), given)
    assert answer.status_code == 200
    return overview_of(answer.wsgi_request)


def texts(client, **given):
    return " ".join(item.text for item in overview(client, **given).items)


def run_at(agent, age, status="completed", seconds=2):
    at = datetime.now(UTC) - age
    moment = int(at.timestamp() * 1000) << 80
    own = uuid4().int % 2**62  # several may have the same millisecond
    run = make_run(agent, status, public_id=UUID(int=moment | own))
    AgentRun.objects.filter(pk=run.pk).update(
        queued_at=at,
        finished_at=None
        if run.finished_at is None
        else at + timedelta(seconds=seconds),
    )
    return run


def test_new_installation_is_told_what_to_set_up(staff):
    shown = overview(staff)
    assert [step.is_done for step in shown.steps] == [False] * 5
    assert "No worker is alive" in texts(staff)
    body = staff.get(reverse(INDEX)).content.decode()
    assert "Set up: 0 of 5 done" in body
    for step in shown.steps:
        assert staff.get(step.url).status_code == 200


def test_steps_are_done_by_rows_that_work(staff, rows):
    done = {step.title: step.is_done for step in overview(staff).steps}
    assert set(done.values()) == {True}
    assert "Everything is set up" in staff.get(reverse(INDEX)).content.decode()
    ModelProvider.objects.update(api_key="")
    WorkerNode.objects.update(heartbeat_at=datetime.now(UTC) - timedelta(hours=1))
    PluginConnection.objects.update(status="offline")
    Agent.objects.update(enabled=False)
    assert {step.is_done for step in overview(staff).steps} == {False}


def test_failures_waits_and_dead_deliveries_are_named_with_their_list(staff, rows):
    agent = Agent.objects.get()
    run = make_run(agent, "failed")
    paused = make_run(agent, "requires_action")
    make_action(paused)
    make_action(paused, "question")
    late = make_run(agent, "queued")
    AgentRun.objects.filter(pk=late.pk).update(
        queued_at=datetime.now(UTC) - timedelta(minutes=2)
    )
    Delivery.objects.update(status="failed", run=run)
    Bot.objects.update(last_error="wrong token")
    found = texts(staff)
    for words in [
        "1 run failed (24 hours).",
        "A decision waits at Helper: May the agent use pay?",
        "A decision waits at Helper: Which size?",
        "1 run has waited for more than a minute.",
        "1 reply could not be delivered",
        "1 message waits for the run before it.",
        "The platform of Hook reported a problem.",
    ]:
        assert words in found
    for item in overview(staff).items:
        assert staff.get(item.url).status_code == 200


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"last_error": "bad manifest"}, "refuses the runner Toolbox of Helper"),
        ({"enabled": False}, "runner Toolbox of Helper is switched off"),
        (None, "No plugin ever offered the runner acme/tools/main of Helper"),
    ],
)
def test_agents_without_a_working_runner_are_named(staff, rows, change, words):
    from agents.models import RunnerDescriptor

    assert "Helper" not in texts(staff)
    if change is None:
        RunnerDescriptor.objects.all().delete()
    else:
        RunnerDescriptor.objects.update(**change)
    assert words in texts(staff)


def test_offline_runner_and_missing_model_are_named(staff, rows):
    agent = Agent.objects.get()
    model = LanguageModel.objects.get()
    config = {**agent.runner_config, "model": {"primary": str(model.public_id)}}
    agent.runner_config = config
    save_agent(agent, author="ada")
    assert texts(staff).count("Helper") == 0
    LanguageModel.objects.update(enabled=False)
    PluginConnection.objects.update(status="offline")
    found = texts(staff)
    assert "The runner Toolbox of Helper is offline." in found
    assert "A model that Helper names does not exist" in found
    model.delete()
    assert "A model that Helper names" in texts(staff)


def test_runs_are_counted_in_the_part_of_the_window_they_began_in(root, rows):
    agent = Agent.objects.get()
    run_at(agent, timedelta(hours=30))
    # The middle of a part, not where two of them meet.
    run_at(agent, timedelta(hours=20.5), seconds=4)
    run_at(agent, timedelta(hours=20.5), status="failed", seconds=8)
    run_at(agent, timedelta(minutes=5), status="queued")
    numbers = numbers_of(root, DAY)
    (part,) = [part for part in numbers.parts if part.bad]
    assert (part.good, part.bad, part.other) == (1, 1, 0)
    assert part.typical == 6.0
    assert part.slow == pytest.approx(8, abs=1)
    # Keys grow with time; those of populate() are older than the first of the window.
    assert numbers.statuses == {"completed": 1, "failed": 1, "queued": 1}
    assert numbers_of(root, HOUR).total == 1


def test_busy_window_shows_its_latest_runs_and_says_so(staff, root, rows, monkeypatch):
    monkeypatch.setattr(overview_numbers, "MOST_ROWS", 3)
    agent = Agent.objects.get()
    for _number in range(5):
        make_run(agent)
    numbers = numbers_of(root, DAY)
    assert (numbers.total, numbers.is_partial) == (3, True)
    assert "the latest of them only" in staff.get(reverse(INDEX)).content.decode()


def test_times_of_large_windows_are_sampled(root, rows, monkeypatch):
    monkeypatch.setattr(overview_numbers, "SAMPLE", 2)
    agent = Agent.objects.get()
    for _number in range(9):
        run_at(agent, timedelta(minutes=3), seconds=7)
    numbers = numbers_of(root, HOUR)
    assert 7.0 in [part.typical for part in numbers.parts]


@pytest.mark.parametrize("window", ["hour", "day", "week", "nonsense"])
def test_charts_have_a_table_with_the_same_numbers(staff, rows, window):
    shown = overview(staff, window=window)
    runs, times, *_costs = shown.charts
    assert sum(int(row[1]) for row in runs.rows) == 1
    assert len(runs.rows) == len(times.rows)
    body = staff.get(reverse(INDEX), {"window": window}).content.decode()
    assert body.count("<svg") >= 2
    assert "As a table" in body


def test_only_rows_of_the_persons_workspaces_are_counted(client, root, rows):
    other = WorkspaceFactory(slug="other")
    foreign: Any = AgentFactory(workspace=other, name="Foreign")
    make_run(foreign, "failed")
    AgentBinding.objects.create(agent=foreign, scope="workspace")
    person = get_user_model().objects.create_user("vera", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__startswith="view"))
    Agent.objects.get(slug="helper").workspace.memberships.create(user=person)
    client.force_login(person)
    assert numbers_of(person, DAY).statuses == {"completed": 1, "running": 1}
    assert numbers_of(root, DAY).statuses["failed"] == 1
    assert "Foreign" not in texts(client)
    assert not recent(person, QueuedMessage, datetime.now(UTC)).exists()


def test_person_without_rights_sees_an_explanation(client, rows):
    client.force_login(get_user_model().objects.create_user("n", is_staff=True))
    shown = overview(client)
    assert (shown.tiles, shown.steps, shown.items, shown.charts) == ([], [], [], [])
    assert "You may not see anything" in client.get(reverse(INDEX)).content.decode()


def test_page_reads_no_whole_table(staff, rows):
    with CaptureQueriesContext(connection) as queries:
        overview(staff)
    assert len(queries) <= 80  # the page, and once more for this test
    unbounded = [
        query["sql"]
        for query in queries
        if "langbot_runners_agentrun" in query["sql"]
        and "LIMIT" not in query["sql"]
        and "WHERE" not in query["sql"]
    ]
    assert unbounded == []


def test_page_does_not_repeat_the_sidebar(staff, rows):
    body = staff.get(reverse(INDEX)).content.decode()
    main = body[body.index('<h1 class="lb-title"') :]
    assert reverse("admin:langbot_agents_agentversion_changelist") not in main
