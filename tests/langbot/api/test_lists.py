import pytest

from agents.models import Agent
from tests.factories import AgentFactory

AGENTS = "/api/v1/agents/"


@pytest.fixture
def slugs(workspace):
    rows = [AgentFactory.create(workspace=workspace, slug=f"a{n}") for n in range(7)]
    return [row.slug for row in reversed(rows)]


def walk(client, url, direction="next"):
    pages = []
    while url:
        content = client.get(url).json()
        assert set(content) == {"next", "previous", "results"}
        pages.append([row["slug"] for row in content["results"]])
        url = content[direction]
    return pages


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 200])
def test_pages_hold_every_row_once(api_client, slugs, limit):
    pages = walk(api_client, f"{AGENTS}?limit={limit}")
    assert [slug for page in pages for slug in page] == slugs
    assert all(len(page) == limit for page in pages[:-1])


def test_the_way_back_shows_the_same_pages(api_client, slugs):
    url, urls = f"{AGENTS}?limit=3", []
    while url:
        content = api_client.get(url).json()
        urls.append(content["previous"])
        url = content["next"]
    assert walk(api_client, urls[-1], "previous") == [slugs[3:6], slugs[:3]]


def test_new_and_removed_rows_shift_no_page(api_client, workspace, slugs):
    first = api_client.get(f"{AGENTS}?limit=3").json()
    AgentFactory.create(workspace=workspace)
    Agent.objects.filter(slug=slugs[2]).delete()
    second = api_client.get(first["next"]).json()
    assert [row["slug"] for row in second["results"]] == slugs[3:6]


def test_filters_survive_paging(api_client, workspace, slugs):
    AgentFactory.create(workspace=workspace, enabled=False)
    pages = walk(api_client, f"{AGENTS}?limit=3&enabled=true")
    assert [slug for page in pages for slug in page] == slugs


@pytest.mark.parametrize("count", [1, 50])
def test_a_list_asks_the_same_few_questions(
    api_client, workspace, count, django_assert_max_num_queries
):
    for _ in range(count):
        AgentFactory.create(workspace=workspace)
    api_client.get(AGENTS)  # notes the token's use
    with django_assert_max_num_queries(4):
        assert len(api_client.get(AGENTS).json()["results"]) == count
