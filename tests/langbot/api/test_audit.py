import pytest

from tests.factories import AgentFactory, WorkspaceFactory
from tests.support.rest import admin_client_of

AUDIT = "/api/v1/audit/"
AGENTS = "/api/v1/agents/"


@pytest.fixture
def boss(workspace):
    return admin_client_of(workspace)


@pytest.fixture
def acts(boss):
    body = {"slug": "a", "name": "A", "runner": "plugin:a/b/c"}
    made = boss.post(AGENTS, body, format="json").json()
    url = f"{AGENTS}{made['id']}/"
    boss.patch(url, {"name": "B"}, format="json")
    boss.delete(url)
    return made["id"]


def test_acts_are_listed_newest_first(boss, acts):
    rows = boss.get(AUDIT).json()["results"]
    assert [row["action"] for row in rows] == ["deleted", "changed", "created"]
    changed = rows[1]
    assert (changed["before"], changed["after"]) == ({"name": "A"}, {"name": "B"})
    assert changed["actor"] == "boss"
    assert changed["object_id"] == acts
    assert boss.get(f"{AUDIT}{changed['id']}/").json() == changed


def test_acts_are_filtered_by_field(boss, acts):
    def actions(query):
        return [row["action"] for row in boss.get(AUDIT + query).json()["results"]]

    assert actions("?action=changed") == ["changed"]
    assert actions(f"?object_id={acts}&limit=1") == ["deleted"]
    assert actions("?object_type=langbot_agents.agent&actor=boss") != []
    assert actions("?actor=nobody") == []
    assert actions("?created_after=2999-01-01T00:00:00Z") == []


def test_nothing_changes_an_act(boss, acts):
    (row, *_) = boss.get(AUDIT).json()["results"]
    for answer in (
        boss.patch(f"{AUDIT}{row['id']}/", {"actor": "x"}, format="json"),
        boss.delete(f"{AUDIT}{row['id']}/"),
        boss.post(AUDIT, {}, format="json"),
    ):
        assert answer.status_code == 405


@pytest.mark.parametrize(
    ("group", "status"), [("auditors", 200), ("admins", 200), ("operators", 403)]
)
def test_its_readers_have_the_right(make_client, workspace, acts, group, status):
    reader = make_client(workspace, "reader", groups=[group])
    assert reader.get(AUDIT).status_code == status


def test_acts_of_another_workspace_do_not_exist(boss, acts):
    other = admin_client_of(WorkspaceFactory.create(slug="elsewhere"), "their boss")
    foreign = AgentFactory.create(workspace=WorkspaceFactory.create(slug="elsewhere"))
    other.patch(f"{AGENTS}{foreign.public_id}/", {"name": "X"}, format="json")
    (row,) = other.get(AUDIT).json()["results"]
    assert boss.get(f"{AUDIT}{row['id']}/").status_code == 404
    assert boss.get(f"{AUDIT}{10**30}/").status_code == 404
    assert row["id"] not in [one["id"] for one in boss.get(AUDIT).json()["results"]]
