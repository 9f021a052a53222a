"""Whose budget and whose rate of messages a sub-run counts to."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.db.models import QuerySet

from agents.models import Quota, QuotaWindow
from agents.resources.quotas import window_of
from langbot.lib.conf import limits
from runners.engine.snapshot import freeze, load_runs
from runners.engine.starter import queued_sub_runs
from runners.errors import TooManyFollowUpsError
from runners.follow_ups import count_follow_up
from runners.models import AgentRun, EventLog
from tests.runners.host_api import test_sub_runs
from tests.runners.host_api.test_sub_runs import refused, start

boss, helper = test_sub_runs.boss, test_sub_runs.helper


def is_said_by_ada(run):
    """Change what is written once, for a test."""
    QuerySet(EventLog).filter(pk=run.event_id).update(actor={"id": "ada"})


@pytest.mark.parametrize(
    ("used_up", "may_ask"), [("above", False), ("api", True), ("nobody", True)]
)
def test_it_counts_to_who_speaks_to_the_run_that_asks(boss, used_up, may_ask):
    """A person of a platform is the same one wherever their words lead."""
    caller, now = boss(), datetime.now(UTC)
    bot_id = uuid4()
    person = {"above": f"{bot_id}:ada", "api": "api:ada", "nobody": ""}[used_up]
    frozen = {**caller.facts.snapshot, "person": f"{bot_id}:ada"}
    AgentRun.objects.filter(pk=caller.run.pk).update(snapshot=frozen, bot_id=bot_id)
    is_said_by_ada(caller.run)
    place = {"workspace": caller.run.workspace, "scope": "user", "window": "daily"}
    Quota.objects.create(**place, person=person, limit_microdollars=100)
    if person:
        starts_at, ends_at = window_of("daily", now)
        QuotaWindow.objects.create(
            **place,
            subject=person,
            starts_at=starts_at,
            ends_at=ends_at,
            settled_microdollars=100,
        )
    if may_ask:
        _, run = start(caller.run)
        (child,) = load_runs([run.pk])
        assert freeze(child).person == f"{bot_id}:ada"
    else:
        assert refused(start, caller.run).code == "conflict"
        assert not AgentRun.objects.filter(parent=caller.run).exists()


def test_asking_agents_is_no_rate_of_a_persons_messages(boss):
    """What agents ask each other does not use up what a person may send."""
    caller = boss()
    is_said_by_ada(caller.run)
    sub_run_id, _ = start(caller.run)
    for number in range(limits().follow_ups):
        start(caller.run, text=f"more {number}", sub_run_id=str(sub_run_id))
    person = f"{caller.run.workspace.public_id}:api:ada"
    for _ in range(limits().follow_ups_per_minute):
        count_follow_up(person)
    with pytest.raises(TooManyFollowUpsError):
        count_follow_up(person)


def test_only_sub_runs_need_no_room(boss):
    caller = boss()
    _, child = start(caller.run)
    assert queued_sub_runs(10) == [child.pk]
