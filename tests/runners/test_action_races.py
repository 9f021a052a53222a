"""Many people decide at once; the long form is in tests/chaos."""

import pytest

from tests.runners.admin_rows import make_action, make_run
from tests.support.approvers import decide_all

pytestmark = pytest.mark.django_db(transaction=True)


def test_each_action_has_one_winner(agent):
    actions = [make_action(make_run(agent, "requires_action")) for _ in range(5)]
    outcomes = decide_all([action.public_id for action in actions], approvers=10)
    for action in actions:
        action.refresh_from_db()
        won, lost = outcomes[action.public_id]
        assert won == [action.decided_by_name]
        assert lost == [action.decided_by_name] * 9
