"""How plugins do is told to each person of what that person may see."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import reverse

from agents.admin.plugin_health import healths
from agents.models import Plugin, PluginConnection, RunnerDescriptor
from agents.registry.tokens import create_plugin_token
from langbot.core.models import Workspace
from tests.factories import AgentFactory
from tests.runners.admin_rows import make_run

pytestmark = pytest.mark.django_db
SHARED = "acme/shared"


@pytest.fixture
def person(workspace):
    user = get_user_model().objects.create_user("ina", is_staff=True)
    workspace.memberships.create(user=user)
    return user


@pytest.fixture
def root():
    return get_user_model().objects.create_superuser("root")


def connect(plugin, workspace, status="online", reason="", count=1):
    token, _plain = create_plugin_token("x", workspace=workspace)
    PluginConnection.objects.bulk_create(
        PluginConnection(
            token=token,
            workspace=workspace,
            plugin=plugin,
            web_node="n1",
            status=status,
            reason=reason,
        )
        for _ in range(count)
    )


def add_tenant(workspace, name, runs):
    """Give a workspace a runner of the shared plugin, with a refusal and runs."""
    runner_id = f"plugin:{SHARED}/{name}"
    RunnerDescriptor.objects.create(
        runner_id=runner_id,
        plugin=SHARED,
        workspace=workspace,
        kind="Runner",
        last_error=f"error of {name}",
    )
    connect(SHARED, workspace)
    connect(SHARED, workspace, status="refused", reason=f"refusal of {name}")
    agent = AgentFactory(workspace=workspace, runner_id=runner_id)
    for _ in range(runs):
        make_run(agent)


def test_a_shared_plugin_tells_nothing_of_other_tenants(workspace, person, root):
    plugin = Plugin.objects.create(name=SHARED)
    add_tenant(workspace, "mine", runs=1)
    other = Workspace.objects.create(slug="other", name="Other")
    add_tenant(other, "theirs", runs=2)
    seen = healths(person, [plugin])[plugin.pk]
    assert [runner.workspace for runner in seen.runners] == [workspace]
    assert (seen.processes, seen.runs, seen.error) == (1, 1, "error of mine")
    RunnerDescriptor.objects.update(last_error="")
    assert healths(person, [plugin])[plugin.pk].error == "refusal of mine"
    everything = healths(root, [plugin])[plugin.pk]
    assert (everything.processes, everything.runs) == (2, 3)
    assert everything.error == "refusal of theirs", "the newest"


def test_many_sockets_of_one_plugin_hide_no_other(
    workspace, root, django_assert_max_num_queries
):
    quiet, loud = (Plugin.objects.create(name=f"acme/{n}") for n in ("quiet", "loud"))
    connect(quiet.name, workspace)
    connect(quiet.name, workspace, status="refused", reason="a wrong name")
    connect(loud.name, workspace, count=210)
    connect(loud.name, None, status="refused", reason="another name", count=210)
    with django_assert_max_num_queries(5):
        found = healths(root, [quiet, loud])
    assert (found[quiet.pk].processes, found[quiet.pk].error) == (1, "a wrong name")
    assert (found[loud.pk].processes, found[loud.pk].error) == (210, "another name")


def test_the_page_is_bounded_too(client, workspace, person):
    plugin = Plugin.objects.create(name=SHARED)
    names = ["view_plugin"]
    person.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(person)
    add_tenant(Workspace.objects.create(slug="other", name="Other"), "theirs", runs=2)
    one = reverse("admin:langbot_agents_plugin_change", args=[plugin.pk])
    everything = reverse("admin:langbot_agents_plugin_changelist")
    for url in (one, everything):
        body = client.get(url).content.decode()
        assert SHARED in body
        assert "theirs" not in body
    (row,) = client.get(everything).context["cl"].result_list
    assert (row.health.processes, row.health.runs) == (0, 0)
