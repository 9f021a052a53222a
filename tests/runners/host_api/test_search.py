import pytest

from runners.ledger.words import place_word, terms_of, words_of
from runners.models import Conversation, TranscriptItem
from tests.factories import WorkspaceFactory


def say(caller, *texts, role="user", **fields):
    conversation = caller.run.conversation
    start = conversation.transcript.count()
    Conversation.objects.filter(pk=conversation.pk).update(
        transcript_seq=start + len(texts)
    )
    return [
        TranscriptItem.objects.create(
            conversation=conversation, seq=seq, role=role, text=text, **fields
        )
        for seq, text in enumerate(texts, start + 1)
    ]


def found(caller, query, **more):
    answer = caller("history_search", query=query, **more)
    return [item["content"] for item in answer["items"]]


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("天气", 1),
        ("今天", 1),
        ("气", 1),
        ("天天气", 1),
        ("天气 Berlin", 1),
        ("BERLIN", 1),
        ("berl", 1),
        ("怎么样", 1),
        ("怎", 1),
        ("東京", 2),
        ("とうきょう", 2),
        ("안녕", 3),
        ("re-deploy", 4),
        ("deployment", 4),
        ("v2.10", 4),
        ("user_name@example.com", 4),
        ("ｄｅｐｌｏｙ", 4),
        ("Ärger", 5),
    ],
)
def test_what_was_said_is_found(caller, query, number):
    say(
        caller,
        "Nothing of interest",
        "今天天气怎么样 in Berlin?",
        "東京 (とうきょう)",
        "안녕하세요",
        "Re-deployment of v2.10.3 by user_name@example.com",
        "Ärgerlich",
    )
    texts = list(caller.run.conversation.transcript.values_list("text", flat=True))
    assert found(caller, query) == [texts[number]]


@pytest.mark.parametrize(
    "query", ["天昨", "erlin", "ber", "Berlin Paris", "!?", "' OR 1", "*"]
)
def test_what_was_not_said_is_not_found(caller, query):
    say(caller, "今天 昨天", "Berlin")
    answer = caller("history_search", query=query)
    assert answer == {"items": [], "total_count": 0, "query": query}


@pytest.mark.parametrize(
    "query", ['"', "a AND", "NEAR(", "a:b", "a | b & !c", "\\", "%s", "天\x00气", "-"]
)
def test_no_query_is_syntax(caller, query):
    say(caller, "a b c")
    caller("history_search", query=query)


def test_items_have_the_shape_of_history(caller):
    say(caller, "one cat", "two cat")
    answer = caller("history_search", query="cat", top_k=1)
    (item,) = answer["items"]
    (same,) = caller("history_page", limit=1)["items"]
    assert item == same
    assert answer["total_count"] is None  # there is another one
    assert answer["query"] == "cat"
    assert caller("history_search", query="cat", top_k=2)["total_count"] == 2


def test_the_newest_come_first_and_filters_narrow(caller):
    say(caller, "cat 1", "cat 2")
    say(caller, "cat 3", role="assistant")
    say(caller, "cat 4", role="tool", item_type="tool_result")
    assert found(caller, "cat") == ["cat 4", "cat 3", "cat 2", "cat 1"]
    roles = {"roles": ["user", "assistant"]}
    assert found(caller, "cat", filters=roles, top_k=2) == ["cat 3", "cat 2"]
    kinds = {"item_types": ["tool_result"], "roles": None}
    assert found(caller, "cat", filters=kinds) == ["cat 4"]


def test_beginnings_are_looked_for_where_no_word_is_the_same(caller):
    say(caller, "deployment", "deploy", "deployed")
    assert found(caller, "deploy") == ["deploy"]
    assert found(caller, "deplo") == ["deployed", "deploy", "deployment"]


def test_old_and_frequent_words_are_found_too(caller):
    say(caller, "天气 needle", *["hay 天气"] * 500)
    assert found(caller, "needle") == found(caller, "气 needle") == ["天气 needle"]
    assert len(found(caller, "hay 天气", top_k=50)) == 50


def test_errors_and_what_was_before_a_reset_are_not_found(caller):
    say(caller, "old cat")
    (marker,) = say(caller, "reset")
    Conversation.objects.filter(pk=caller.run.conversation_id).update(
        context_seq=marker.seq
    )
    say(caller, "failed cat", role="system", item_type="error")
    say(caller, "new cat")
    assert found(caller, "cat") == ["new cat"]


def test_other_conversations_are_out_of_reach(caller, caller_of):
    other = caller_of()
    abroad = caller_of(place=WorkspaceFactory.create())
    for one in (other, abroad):
        say(one, "a secret cat")
    say(caller, "my cat")
    assert found(caller, "cat") == ["my cat"]
    assert found(caller, place_word(other.run.conversation_id)) == []
    named = {"conversation_id": other.facts.conversation_public_id}
    refused = caller.refused("history_search", query="cat", filters=named)
    assert refused == "permission_denied"
    own = {"conversation_id": caller.facts.conversation_public_id}
    assert found(caller, "cat", filters=own) == ["my cat"]


@pytest.mark.parametrize("permissions", [{}, {"history": ["page"]}])
def test_the_manifest_has_to_ask_for_it(caller_of, permissions):
    caller = caller_of(permissions)
    assert caller.facts.access.apis["history_search"] is False
    assert caller.refused("history_search", query="cat") == "permission_denied"


@pytest.mark.parametrize(
    "data",
    [{}, {"query": ""}, {"query": "a", "top_k": 0}, {"query": "a", "filters": [1]}],
)
def test_wrong_requests_are_refused(caller, data):
    assert caller.refused("history_search", **data) == "invalid_request"


def test_removed_rows_leave_the_index(caller):
    say(caller, "one cat", "two cat")
    caller.run.conversation.transcript.filter(seq=1).purge()
    assert found(caller, "cat") == ["two cat"]


def test_the_longest_questions_are_answered(caller):
    """32,000 characters; PostgreSQL once gave up at its limit of recursion."""
    run = "".join(map(chr, range(0x4E00, 0x4E00 + 900)))
    say(caller, run)
    assert found(caller, run) == [run]
    assert found(caller, (run * 36)[:32_000]) == [run]
    assert found(caller, " ".join([run] * 35)) == [run]
    assert max(len(term.words) for term in terms_of(f"{run} x")) == 64


def test_words_are_pairs_where_there_are_no_spaces():
    pairs = ["今天", "天天", "天气"]
    assert words_of("Hello, 今天天气!") == ["hello", *pairs, "今", "天", "气"]
    terms = [("今天", "天天"), ("hi",), ("气",)]
    assert [term.words for term in terms_of("今天天 Hi 气")] == terms
    assert words_of("x" * 100) == ["x" * 64]


def test_signs_and_controls_part_words_in_every_script():
    signs = "".join(map(chr, range(128)))
    assert words_of(signs) == words_of(signs + " é")[:-1]
