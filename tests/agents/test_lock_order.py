"""Many people change agents and bindings at once: one order of locks, no deadlock."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import ValidationError
from django.db import OperationalError, connection, connections

from agents.models import Agent, AgentBinding
from agents.services import (
    archive_agent,
    save_agent,
    save_binding,
    unarchive_agent,
)
from langbot.configuration.apply import apply_configuration
from langbot.configuration.documents import read_document
from langbot.configuration.export import export_configuration
from tests.factories import AgentFactory, WorkspaceFactory
from tests.support.rest import admin_client_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        "connection.vendor != 'postgresql'", reason="SQLite has one writer at a time"
    ),
]
assert connection is not None  # named in the condition above
THREADS, ROUNDS = 8, 10


@pytest.fixture
def rows(workspace):
    """Agents of two workspaces with bindings, and a client that may change them."""
    other = WorkspaceFactory.create(slug="other")
    for place in (workspace, other):
        for number in range(2):
            agent = AgentFactory.create(workspace=place)
            save_binding(
                AgentBinding(agent=agent, scope="workspace", priority=number * 100)
            )
    agent = AgentFactory.create(workspace=workspace)
    save_binding(AgentBinding(agent=agent, scope="global", priority=1))
    return admin_client_of(workspace)


def rename(_client, agent):
    agent.name = f"Name {random.random()}"  # noqa: S311  no secret
    save_agent(agent, author="ada")


def move(_client, agent):
    binding = agent.bindings.exclude(scope="agent").get()
    binding.priority += 1
    save_binding(binding, author="ada")


def bind(_client, agent):
    with_filter = {"text": f"{random.random()}"}  # noqa: S311  no secret
    save_binding(
        AgentBinding(agent=agent, scope="agent", filters=with_filter, enabled=False)
    )
    AgentBinding.objects.filter(agent=agent, scope="agent").delete()


def retire(_client, agent):
    archive_agent(agent, author="ada")
    unarchive_agent(agent, author="ada")


def patch(client, agent):
    binding = agent.bindings.exclude(scope="agent").get()
    url = f"/api/v1/bindings/{binding.public_id}/"
    answer = client.patch(url, {"priority": binding.priority + 1}, format="json")
    assert answer.status_code in {200, 400, 404}, answer.content


def apply(_client, agent):
    document = export_configuration(agent.workspace)
    document["agents"][0]["description"] = f"{random.random()}"  # noqa: S311  no secret
    for one in document["agents"]:
        for binding in one["bindings"]:
            binding["priority"] += 1
    apply_configuration(agent.workspace, read_document(document), author="ada")


def work(client, seed):
    """Do this and that, as a person would; returns the deadlocks that came of it."""
    chance = random.Random(seed)  # noqa: S311  no secret
    acts = [rename, rename, move, move, bind, retire, patch, patch, apply]
    deadlocks = []
    try:
        for _ in range(ROUNDS):
            act = chance.choice(acts)
            try:
                act(client, chance.choice(list(Agent.objects.order_by("pk"))))
            except (ValidationError, AgentBinding.DoesNotExist):
                pass  # a tie, or somebody else was faster
            except OperationalError as error:
                deadlocks.append(f"{act.__name__}: {error}")
    finally:
        connections.close_all()
    return deadlocks


def test_no_two_changes_wait_for_each_other(rows):
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda seed: work(rows, seed), range(THREADS)))
    assert not [text for deadlocks in found for text in deadlocks]
