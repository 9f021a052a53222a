"""Embeddings and reranking without a model: shared words, and it says so.

A text's words, and the characters and pairs of characters of Chinese, Japanese and
Korean, each add to one of 256 places of a vector. Texts that share words lie near each
other; what words mean is not known here.
"""

import hashlib
import math
import re
from collections import Counter
from itertools import pairwise

from django.utils.translation import gettext

from agents.resources.shapes import EmbeddingAnswer, RerankAnswer, RerankRequest

DIMENSIONS = 256
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_PARTS = re.compile(rf"[{_CJK}]+|[^\W{_CJK}]+")
_IS_CJK = re.compile(f"[{_CJK}]")


def embed(texts: list[str]) -> EmbeddingAnswer:
    """Return vectors of length 1; that of a text without words is zero."""
    return {"vectors": [vector(text) for text in texts], "notice": notice()}


def rerank(request: RerankRequest) -> RerankAnswer:
    """Score each document from 0 to 1 by the words it shares with the query."""
    query = vector(request.query)
    scores = [_product(query, vector(text)) for text in request.documents]
    return {
        "results": [
            {"index": index, "relevance_score": round(score, 6)}
            for index, score in enumerate(scores)
        ],
        "notice": notice(),
    }


def notice() -> str:
    """Return the words by which every answer says what it is."""
    return gettext(
        "This is the offline demo model: it only counts shared words. Add a model "
        "provider in the admin for real results."
    )


def vector(text: str) -> list[float]:
    """Return the text's place."""
    places = [0.0] * DIMENSIONS
    for word, count in Counter(_words(text)).items():
        digest = hashlib.blake2b(word.encode(), digest_size=4).digest()
        places[int.from_bytes(digest) % DIMENSIONS] += 1.0 + math.log(count)
    length = math.sqrt(sum(place * place for place in places))
    return [place / length for place in places] if length else places


def _words(text: str) -> list[str]:
    found = []
    for part in _PARTS.findall(text.lower()):
        if _IS_CJK.match(part):
            found += [*part, *map("".join, pairwise(part))]
        else:
            found.append(part)
    return found


def _product(one: list[float], other: list[float]) -> float:
    return sum(left * right for left, right in zip(one, other, strict=True))
