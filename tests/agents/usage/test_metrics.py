"""Model calls are counted once as they are recorded, late commits too."""

import pytest

from agents.models import UsageRecord
from langbot.metrics_usage import UsageSeen

pytestmark = pytest.mark.django_db


@pytest.fixture
def record(workspace):
    def add(cost, **fields):
        return UsageRecord.objects.create(
            workspace=workspace,
            prompt_tokens=7,
            completion_tokens=3,
            cost_microdollars=cost,
            cost_source="missing" if cost is None else "price",
            **fields,
        )

    return add


def look(seen):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in seen.look()
        for sample in metric.samples
    }


def test_what_is_new_is_counted_once(record):
    record(99)
    seen = UsageSeen()
    assert look(seen)["langbot_model_cost_microdollars_total",] == 0
    record(5)
    record(None)
    for _again in range(2):
        found = look(seen)
        assert found["langbot_model_calls_total", "price"] == 1
        assert found["langbot_model_calls_total", "missing"] == 1
        assert found["langbot_model_tokens_total", "input"] == 14
        assert found["langbot_model_tokens_total", "output"] == 6
        assert found["langbot_model_cost_microdollars_total",] == 5


def test_a_record_that_was_committed_late_is_counted(record):
    first = record(1)
    seen = UsageSeen()
    look(seen)
    record(5, pk=first.pk + 2)
    assert look(seen)["langbot_model_cost_microdollars_total",] == 5
    record(7, pk=first.pk + 1)
    for _again in range(2):
        assert look(seen)["langbot_model_cost_microdollars_total",] == 12
