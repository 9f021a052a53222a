import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runners.api.transcript import HIDDEN_ROWS, TOOL_ROWS
from runners.ledger.turns import append_transcripts
from runners.models import Conversation, TranscriptItem


@pytest.fixture
def conversation(workspace):
    return Conversation.objects.create(workspace=workspace, key="k")


@pytest.fixture
def page(api_client, conversation):
    """Return (sequence numbers, the whole page) of a question."""

    def page(query="", url=""):
        url = url or f"/api/v1/conversations/{conversation.public_id}/messages/?{query}"
        answer = api_client.get(url)
        assert answer.status_code == 200, answer.content
        return [row["seq"] for row in answer.json()["results"]], answer.json()

    return page


@pytest.fixture
def write(conversation):
    def write(roles):
        names = {"u": "user", "a": "assistant", "t": "tool", "s": "system"}
        items = [TranscriptItem(role=names[role], text=role) for role in roles]
        append_transcripts([(conversation, item) for item in items])

    return write


def test_pages_are_newest_first_and_meet(page, write):
    write("ua" * 5)
    first, content = page("limit=4")
    assert first == [10, 9, 8, 7]
    assert (content["has_more"], content["oldest_sequence"]) == (True, 7)
    assert page(url=content["next"])[0] == [6, 5, 4, 3]
    assert page("limit=4&before_sequence=7")[0] == [6, 5, 4, 3]
    last, content = page("limit=4&before_sequence=3")
    assert (last, content["next"], content["has_more"]) == ([2, 1], None, False)


def test_without_a_limit_a_page_has_50(page, write):
    write("u" * 60)
    assert len(page()[0]) == 50
    assert len(page("limit=200")[0]) == 60


def test_nothing_before_the_first_row(page, write):
    assert page()[1]["oldest_sequence"] is None
    write("ua")
    assert page("limit=2")[1]["next"] is None


def test_a_page_takes_in_who_asked_for_its_tool_results(page, write):
    write("uu" + "a" + "t" * 4 + "a")
    numbers, content = page("limit=3")
    assert numbers == [8, 7, 6, 5, 4, 3]
    assert content["oldest_sequence"] == 3
    assert page(url=content["next"])[0] == [2, 1]


def test_a_tool_group_without_an_owner_near_stays_cut(page, write, caplog):
    write("ua" + "t" * (TOOL_ROWS + 3) + "u")
    assert len(page("limit=2")[0]) == 2
    assert "no message owns" in caplog.text


def test_a_page_with_nothing_said_grows_to_the_last_thing_said(page, write):
    write("uu" + "s" * 20)
    assert page("limit=5")[0] == list(range(22, 1, -1))
    write("s" * (HIDDEN_ROWS + 5))
    assert len(page("limit=5")[0]) == 5


def test_a_page_on_the_way_back_repeats_nothing(page, write):
    write("u" + "a" + "tttt" + "u" + "a")
    _, first = page("limit=2")
    older, second = page(url=first["next"])
    assert older == [6, 5, 4, 3, 2]
    assert page(url=second["previous"])[0] == [8, 7]


@pytest.mark.parametrize("wrong", ["x", "-1", "", "9" * 30])
def test_a_wrong_number_is_refused(api_client, conversation, wrong):
    url = f"/api/v1/conversations/{conversation.public_id}/messages/"
    answer = api_client.get(url, {"before_sequence": wrong})
    assert answer.status_code == 400


def test_growing_costs_one_question(page, write):
    write("s" * 20 + "u" * 5)
    page()  # marks the token as used
    with CaptureQueriesContext(connection) as plain:
        page("limit=5")
    write("s" * 20)
    with CaptureQueriesContext(connection) as growing:
        page("limit=5")
    assert len(growing) == len(plain) + 1
