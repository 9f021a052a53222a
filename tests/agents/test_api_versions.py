import pytest

from agents.models import Agent, AgentVersion, RunnerDescriptor
from agents.services import archive_agent, save_agent
from langbot.core.models import AuditLog
from tests.factories import AgentFactory
from tests.support.rest import admin_client_of

AGENTS = "/api/v1/agents/"
RUNNER = "plugin:acme/helper/default"


@pytest.fixture
def client(workspace):
    return admin_client_of(workspace)


@pytest.fixture
def runner(db):
    schema = [
        {"name": "api-key", "type": "secret"},
        {"name": "retries", "type": "integer", "default": 3},
    ]
    return RunnerDescriptor.objects.create(
        runner_id=RUNNER, plugin="acme/helper", kind="Runner", config_schema=schema
    )


@pytest.fixture
def grown(workspace, runner):
    """An agent with three versions."""
    agent = save_agent(
        Agent(
            workspace=workspace,
            slug="helper",
            name="One",
            runner_id=RUNNER,
            runner_config={"api-key": "first s3cret", "retries": 1},
        ),
        author="ada",
    )
    agent.name = "Two"
    save_agent(agent, author="bob")
    agent.runner_config = {"api-key": "second s3cret", "retries": 5}
    agent.event_types = ["message.*"]
    return save_agent(agent, author="ada")


def url_of(agent, rest=""):
    return f"{AGENTS}{agent.public_id}/{rest}"


def test_a_version_reads_as_the_agent_did(client, grown):
    version = client.get(url_of(grown, "versions/1/")).json()
    assert version["number"] == 1
    assert version["author"] == "ada"
    assert version["data"]["name"] == "One"
    assert version["data"]["runner"] == RUNNER
    assert "runner_id" not in version["data"]
    assert version["differences"] is None


@pytest.mark.parametrize("number", ["0", "4", "99999999999999999999", "x", "-1"])
def test_a_version_that_never_was_is_404(client, grown, number):
    assert client.get(url_of(grown, f"versions/{number}/")).status_code == 404
    restored = client.post(url_of(grown, f"versions/{number}/restore/"))
    assert restored.status_code == 404


def test_any_two_versions_compare_both_ways(client, grown):
    answer = client.get(url_of(grown, "versions/3/?against=1"))
    assert b"s3cret" not in answer.content
    assert answer.json()["against"] == 1
    found = {one["path"]: one for one in answer.json()["differences"]}
    assert set(found) == {"name", "runner_config.retries", "event_types"}
    assert found["name"] == {"path": "name", "before": "One", "after": "Two"}
    retries = found["runner_config.retries"]
    assert (retries["before"], retries["after"]) == (1, 5)
    back = client.get(url_of(grown, "versions/1/?against=3")).json()["differences"]
    assert {one["path"]: one["after"] for one in back}["name"] == "One"
    same = client.get(url_of(grown, "versions/2/?against=2")).json()
    assert same["differences"] == []


def test_a_comparison_needs_a_version_of_this_agent(client, grown):
    assert client.get(url_of(grown, "versions/1/?against=9")).status_code == 404


@pytest.mark.parametrize("against", ["", "x", "-1", "9" * 40])
def test_a_comparison_needs_a_number(client, grown, against):
    answer = client.get(url_of(grown, f"versions/1/?against={against}"))
    assert answer.status_code == 400
    assert "against" in answer.json()["errors"]


def test_a_version_has_a_tag(client, grown):
    tag = client.get(url_of(grown, "versions/2/"))["ETag"]
    again = client.get(url_of(grown, "versions/2/"), headers={"If-None-Match": tag})
    assert again.status_code == 304
    assert client.get(url_of(grown, "versions/2/?against=1"))["ETag"] != tag


def test_restoring_makes_a_new_version_and_keeps_the_secrets(client, grown):
    before = client.get(url_of(grown))
    answer = client.post(
        url_of(grown, "versions/1/restore/"), headers={"If-Match": before["ETag"]}
    )
    assert answer.status_code == 200, answer.content
    assert (answer.json()["name"], answer.json()["version"]) == ("One", 4)
    stored = Agent.objects.get(pk=grown.pk)
    assert stored.runner_config["api-key"] == grown.runner_config["api-key"]
    assert AuditLog.objects.filter(action="restored v1", actor="boss").exists()
    stale = client.post(
        url_of(grown, "versions/2/restore/"), headers={"If-Match": before["ETag"]}
    )
    assert stale.status_code == 412
    assert AgentVersion.objects.filter(agent=grown).count() == 4


def test_a_restore_takes_an_idempotency_key(client, grown):
    headers = {"Idempotency-Key": "back"}
    first = client.post(url_of(grown, "versions/1/restore/"), headers=headers)
    again = client.post(url_of(grown, "versions/1/restore/"), headers=headers)
    assert first.json() == again.json()
    assert again["Idempotency-Replayed"] == "true"


def test_an_archived_agent_has_no_versions_to_restore(client, grown):
    archive_agent(grown)
    assert client.post(url_of(grown, "versions/1/restore/")).status_code == 404
    assert client.get(url_of(grown, "versions/1/")).status_code == 404


def test_foreign_versions_do_not_exist(client, grown):
    foreign = save_agent(
        AgentFactory.build(workspace=AgentFactory.create().workspace), author=""
    )
    for rest in ("versions/", "versions/1/", "versions/1/?against=1"):
        assert client.get(url_of(foreign, rest)).status_code == 404
    for rest in ("versions/1/restore/", "clone/"):
        assert client.post(url_of(foreign, rest)).status_code == 404


def test_a_clone_is_an_agent_of_its_own(client, grown, user):
    grown.bindings.create(scope="workspace")
    answer = client.post(url_of(grown, "clone/"), {}, format="json")
    assert answer.status_code == 201, answer.content
    copy = Agent.objects.get(slug="helper-copy")
    assert answer.json()["id"] == str(copy.public_id) != str(grown.public_id)
    assert (copy.name, copy.version, copy.workspace) == ("Two", 1, grown.workspace)
    assert copy.runner_config == grown.runner_config  # it works at once
    assert not copy.bindings.exists()
    assert client.post(url_of(grown, "clone/")).json()["slug"] == "helper-copy-2"


def test_a_clone_may_be_named(client, grown):
    body = {"slug": "other", "name": "Other"}
    answer = client.post(url_of(grown, "clone/"), body, format="json").json()
    assert (answer["slug"], answer["name"]) == ("other", "Other")
    taken = client.post(url_of(grown, "clone/"), body, format="json")
    assert taken.status_code == 400
    assert "slug" in taken.json()["errors"]


@pytest.mark.parametrize("body", [{"slug": "a b"}, {"name": ""}, {"x": 1}, [1]])
def test_a_clone_of_nonsense_is_refused(client, grown, body):
    answer = client.post(url_of(grown, "clone/"), body, format="json")
    assert answer.status_code == 400


def test_the_longest_slug_can_be_cloned(client, workspace):
    agent = AgentFactory.create(workspace=workspace, slug="x" * 50)
    answer = client.post(url_of(agent, "clone/"), {}, format="json")
    assert answer.status_code == 201, answer.content
    assert len(answer.json()["slug"]) <= 50


def test_an_unknown_runner_is_accepted_with_a_warning(client, workspace, runner):
    body = {"slug": "a", "name": "A", "runner": "plugin:acme/later/default"}
    created = client.post(AGENTS, body, format="json")
    assert created.status_code == 201
    (warning,) = created.json()["warnings"]
    assert (warning["code"], warning["field"]) == ("runner_unknown", "runner")
    url = f"{AGENTS}{created.json()['id']}/"
    assert client.get(url).json()["warnings"] == [warning]
    changed = client.patch(url, {"runner": RUNNER}, format="json")
    assert changed.json()["warnings"] == []
    back = client.patch(url, {"runner": "plugin:acme/x/y"}, format="json")
    assert back.json()["warnings"] != []


def test_a_runner_of_another_workspace_is_unknown_here(client, workspace):
    other = AgentFactory.create().workspace
    RunnerDescriptor.objects.create(
        runner_id=RUNNER, plugin="acme/helper", kind="Runner", workspace=other
    )
    agent = AgentFactory.create(workspace=workspace, runner_id=RUNNER)
    assert client.get(url_of(agent)).json()["warnings"]


def test_agents_are_ordered_and_filtered_by_fields(client, workspace):
    for slug, name in (("b", "Ada"), ("a", "Cleo"), ("c", "Ada"), ("d", "Bob")):
        AgentFactory.create(workspace=workspace, slug=slug, name=name)

    def slugs(query):
        found, url = [], f"{AGENTS}?limit=1&{query}"
        while url:
            page = client.get(url).json()
            found += [row["slug"] for row in page["results"]]
            url = page["next"]
        return "".join(found)

    assert slugs("ordering=name") == "bcda"
    assert slugs("ordering=-name") == "adcb"
    assert slugs("ordering=slug") == "abcd"
    assert slugs("ordering=-created_at") == "dcab"
    assert slugs("name=Ada&ordering=-slug") == "cb"
    assert slugs("session_scope=actor") == ""
    assert slugs("runner=plugin:langbot/echo/default") == "dcab"


def test_an_ordering_pages_back_the_same_way(client, workspace):
    for name in ("C", "A", "B", "A", "D"):
        AgentFactory.create(workspace=workspace, name=name)
    pages, url = [], f"{AGENTS}?limit=2&ordering=name"
    while url:
        page = client.get(url).json()
        pages.append(page)
        url = page["next"]
    back = client.get(pages[-1]["previous"]).json()
    assert back["results"] == pages[1]["results"]
    first = client.get(back["previous"]).json()
    assert first["results"] == pages[0]["results"]
    assert first["previous"] is None


@pytest.mark.parametrize("ordering", ["nothing", "pk", "", "--name", "workspace"])
def test_an_unknown_ordering_is_refused(client, agent, ordering):
    answer = client.get(f"{AGENTS}?ordering={ordering}")
    assert answer.status_code == 400
    assert "ordering" in answer.json()["errors"]


def test_a_cursor_belongs_to_its_ordering(client, workspace):
    for _ in range(3):
        AgentFactory.create(workspace=workspace)
    cursor = client.get(f"{AGENTS}?limit=1&ordering=name").json()["next"]
    for other in ("ordering=-name", "ordering=slug", ""):
        url = cursor.replace("ordering=name", other)
        assert client.get(url).status_code == 400


def without(agent, number, name):
    """Make a version what it was before there was a field of this name."""
    version = AgentVersion.objects.get(agent=agent, number=number)
    del version.data[name]
    AgentVersion.objects.filter(pk=version.pk)._raw_delete(using="default")
    AgentVersion.objects.create(agent=agent, number=number, data=version.data)


def test_a_version_older_than_a_field_has_its_default(client, grown):
    without(grown, 1, "multitask_strategy")
    answer = client.get(url_of(grown, "versions/2/?against=1")).json()
    assert {one["path"] for one in answer["differences"]} == {"name"}
    old = client.get(url_of(grown, "versions/1/")).json()
    assert old["data"]["multitask_strategy"] == "enqueue"
