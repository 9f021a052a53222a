"""The list of agents says how many runs each has, in one query (AG-111)."""

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from agents.admin import run_counts as counting
from agents.admin.run_counts import run_counts
from tests.factories import AgentFactory
from tests.runners.admin_rows import make_run

LIST = "admin:langbot_agents_agent_changelist"


@pytest.fixture
def agents(workspace):
    made = AgentFactory.create_batch(3, workspace=workspace)
    for number, one in enumerate(made):
        for _ in range(number):
            make_run(one)
    return made


def test_one_query_counts_the_runs_of_all(agents, django_assert_num_queries):
    with django_assert_num_queries(1):
        counts = run_counts([one.pk for one in agents])
    assert [counts[one.pk] for one in agents] == [0, 1, 2]


def test_no_agents_need_no_query(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert run_counts([]) == {}


def test_counting_ends_and_says_so(agents, client, monkeypatch):
    monkeypatch.setattr(counting, "MOST", 1)
    assert sorted(run_counts([one.pk for one in agents]).values()) == [0, 1, 2]
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    answer = client.get(reverse(LIST))
    shown = [answer.context["cl"].model_admin.runs(row) for row in rows_of(answer)]
    assert sorted(shown) == ["0", "1", "1+"]
    assert "runs (up to 1000)" in answer.content.decode().lower()


def test_more_agents_need_no_more_queries(agents, client, workspace):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    asked = []
    for _ in range(2):
        client.get(reverse(LIST))
        with CaptureQueriesContext(connection) as queries:
            client.get(reverse(LIST))
        asked.append(len(queries))
        AgentFactory.create_batch(5, workspace=workspace)
    assert asked[0] == asked[1] <= 15


def rows_of(answer):
    return answer.context["cl"].result_list
