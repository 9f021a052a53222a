import pytest

from agents.models import Model, ModelProvider

PERMISSIONS = {"models": ["invoke", "rerank"]}


@pytest.fixture
def demo(workspace):
    """Add a model of the offline demo."""
    provider = ModelProvider.objects.create(
        workspace=workspace, name="demo", kind="demo"
    )

    def make(kind):
        model = Model.objects.create(provider=provider, name=f"demo-{kind}", kind=kind)
        return str(model.public_id)

    return make


def test_documents_are_ranked_best_first(caller_of, demo):
    model = demo("rerank")
    caller = caller_of(PERMISSIONS, models=[model])
    documents = ["dogs bark", "cats purr and cats sleep", "猫 cats", "nothing"]
    asked = {"rerank_model_uuid": model, "query": "cats", "documents": documents}
    results = caller("invoke_rerank", **asked)["results"]
    scores = [one["relevance_score"] for one in results]
    assert scores == sorted(scores, reverse=True)
    assert {one["index"] for one in results[:2]} == {1, 2}
    best = caller("invoke_rerank", **asked, top_k=1)
    assert best["results"] == results[:1]
    assert "offline demo model" in best["notice"]


def test_at_most_64_documents(caller_of, demo):
    model = demo("rerank")
    caller = caller_of(PERMISSIONS, models=[model])
    asked = {"rerank_model_uuid": model, "query": "x"}
    assert len(caller("invoke_rerank", **asked, documents=["a"] * 64)["results"]) == 64
    assert caller.refused("invoke_rerank", **asked, documents=["a"] * 65) == "too_large"
    assert caller("invoke_rerank", **asked, documents=[]) == {"results": []}


def test_texts_that_share_words_are_near(caller_of, demo):
    model = demo("embedding")
    caller = caller_of(PERMISSIONS, models=[model])
    texts = ["今天天气很好", "天气怎么样", "invoices"]
    answer = caller("invoke_embedding", embedding_model_uuid=model, texts=texts)
    today, weather, other = answer["vectors"]
    assert len(today) == 256
    near = sum(a * b for a, b in zip(today, weather, strict=True))
    far = sum(a * b for a, b in zip(today, other, strict=True))
    assert near > 0.2 > far
    assert "offline demo model" in answer["notice"]


@pytest.mark.parametrize(
    ("action", "field", "data"),
    [
        ("invoke_rerank", "rerank_model_uuid", {"query": "x", "documents": ["a"]}),
        ("invoke_embedding", "embedding_model_uuid", {"texts": ["a"]}),
    ],
)
def test_a_model_has_to_be_granted_and_of_the_kind(
    caller_of, demo, action, field, data
):
    ranker, language = demo("rerank"), demo("llm")
    caller = caller_of({"models": ["invoke"]}, models=[ranker, language])
    wanted = {**data, field: ranker}
    assert caller.refused(action, **wanted) == "permission_denied"
    assert caller.refused(action, **data, **{field: "x"}) == "permission_denied"
    caller = caller_of(PERMISSIONS, models=[language])
    caller.facts.access.models[language] = []
    assert caller.refused(action, **data, **{field: language}) == "model.bad_request"
