"""How many queries each route that reads asks, as data.

After a deliberate change: `UPDATE_QUERY_COUNTS=1 make tests TESTS=<this file>`. A new
resource needs rows: see tests/support/rest_rows.py.
"""

import json
import os
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.support.rest import admin_client_of
from tests.support.rest_routes import routes
from tests.support.rest_rows import add_children, add_rows, places

DATA = Path(__file__).resolve().parents[2] / "data" / "query_counts.json"
UPDATE = "UPDATE_QUERY_COUNTS"
READING = [route for route in routes() if "get" in route.methods]
UNCOUNTED = {"run-stream"}  # answers from other threads, for as long as a run lasts


def measure(client, url):
    with CaptureQueriesContext(connection) as queries:
        response = client.get(url)
    assert response.status_code == 200, (url, response.content)
    return len(queries), [one["sql"] for one in queries.captured_queries]


@pytest.fixture
def client(workspace, django_user_model):
    client = admin_client_of(workspace)
    boss = django_user_model.objects.get(username="boss")
    client.boss = boss
    for _ in range(2):
        add_rows(workspace, boss)
    client.get("/api/v1/agents/")  # notes the token's use
    return client


def counts_of(client, known):
    return {
        route.name: measure(client, route.url(known))
        for route in READING
        if route.name not in UNCOUNTED
    }


def test_no_route_asks_more_than_before_nor_more_for_more_rows(client, workspace):
    known = places()
    few = counts_of(client, known)
    add_children()  # inside of what `known` names: versions, messages, tokens …
    for _ in range(4):
        add_rows(workspace, client.boss)
    many = counts_of(client, known)
    growing = {name: sql for name, (asked, sql) in many.items() if asked > few[name][0]}
    assert not growing, f"more rows cost more queries: {json.dumps(growing, indent=1)}"
    counts = {name: asked for name, (asked, _sql) in sorted(few.items())}
    if os.environ.get(UPDATE):
        DATA.write_text(json.dumps(counts, indent=2) + "\n")
    assert counts == json.loads(DATA.read_text()), f"see {UPDATE} in this file"


def test_every_route_is_counted():
    counted = set(json.loads(DATA.read_text())) | UNCOUNTED
    assert counted == {route.name for route in READING}
