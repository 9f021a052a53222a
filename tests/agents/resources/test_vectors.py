import pytest

from agents.resources.errors import ModelError
from agents.resources.vectors import RerankRequest, embed, rerank
from tests.agents.resources.chat_server import chat_server
from tests.agents.resources.conftest import KEY

QUESTION = RerankRequest(query="q", documents=["a", "b", "c"], top_k=2)


async def test_embeddings_come_back_in_the_order_of_the_texts(make_spec):
    data = {
        "data": [
            {"index": 1, "embedding": [0.5, 1]},
            {"index": 0, "embedding": [0.25, 0]},
        ]
    }
    async with chat_server(lambda e: e.send(200, data)) as server:
        answer = await embed(make_spec(server.url, kind="embedding"), ["x", "y"])
    assert answer == {"vectors": [[0.25, 0.0], [0.5, 1.0]]}
    sent = server.exchanges[0]
    assert (sent.target, sent.headers["authorization"]) == (
        "/v1/embeddings",
        f"Bearer {KEY}",
    )
    assert sent.body == {
        "model": "tiny",
        "input": ["x", "y"],
        "encoding_format": "float",
    }


@pytest.mark.parametrize(
    "answer",
    [
        {
            "results": [
                {"index": 0, "relevance_score": 0.1},
                {"index": 2, "relevance_score": 0.9},
            ]
        },
        {
            "data": [
                {"index": 2, "relevance_score": 0.9},
                {"index": 0, "relevance_score": 0.1},
            ]
        },
        [
            {"index": 1, "score": 0},
            {"index": 2, "score": 0.9},
            {"index": 0, "score": 0.1},
        ],
    ],
    ids=["cohere", "voyage", "tei"],
)
async def test_every_form_of_reranking_is_read_best_first(make_spec, answer):
    async with chat_server(lambda e: e.send(200, answer)) as server:
        found = await rerank(make_spec(server.url, kind="rerank"), QUESTION)
    assert found["results"] == [
        {"index": 2, "relevance_score": 0.9},
        {"index": 0, "relevance_score": 0.1},
    ]
    assert server.exchanges[0].target == "/v1/rerank"
    assert server.exchanges[0].body == {
        "model": "tiny",
        "query": "q",
        "documents": ["a", "b", "c"],
        "top_n": 2,
    }


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"data": [{"index": 0, "embedding": [1]}]},
        {"data": [{"index": 0, "embedding": []}, {"index": 1, "embedding": [1]}]},
        {"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}]},
    ],
)
async def test_unreadable_embeddings_are_a_typed_error(make_spec, answer):
    async with chat_server(lambda e: e.send(200, answer)) as server:
        with pytest.raises(ModelError) as caught:
            await embed(make_spec(server.url, kind="embedding"), ["x", "y"])
    assert caught.value.code == "model.bad_response"


async def test_a_score_for_no_document_is_a_typed_error(make_spec):
    answer = {"results": [{"index": 3, "relevance_score": 1}]}
    async with chat_server(lambda e: e.send(200, answer)) as server:
        with pytest.raises(ModelError) as caught:
            await rerank(make_spec(server.url, kind="rerank"), QUESTION)
    assert caught.value.code == "model.bad_response"
