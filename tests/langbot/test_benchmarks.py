"""What a benchmark writes by itself still fits the tables."""

import pytest

from benchmarks import history
from runners.models import Conversation


@pytest.mark.django_db(transaction=True)
def test_pages_of_a_growing_conversation_are_measured(monkeypatch):
    monkeypatch.setattr(history, "_REPEATS", 2)
    found = history.measure((200, 500))
    assert [item["size"] for item in found] == [200, 500]
    assert history.growth(found) > 0
    assert not Conversation.objects.exists()
