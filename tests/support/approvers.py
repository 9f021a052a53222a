"""People who decide about the same actions at the same time."""

import random
import threading
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from django.db import OperationalError, connection

from runners.actions import ActionResolvedError, Decider, Decision, resolve_action

# By action: the names of those who won, and whom the others were told.
Outcomes = dict[UUID, tuple[list[str], list[str]]]


def decide_all(actions: Sequence[UUID], approvers: int) -> Outcomes:
    """Have so many people approve each action, each in another order."""
    outcomes: Outcomes = defaultdict(lambda: ([], []))
    begin = threading.Barrier(approvers)

    def approve(name: str) -> None:
        mine = random.sample(list(actions), len(actions))
        begin.wait()
        try:
            for action in mine:
                _approve(action, name, outcomes)
        finally:
            connection.close()

    with ThreadPoolExecutor(approvers) as people:
        for done in [people.submit(approve, f"p{n}") for n in range(approvers)]:
            done.result()
    return outcomes


def _approve(action: UUID, name: str, outcomes: Outcomes) -> None:
    won, lost = outcomes[action]
    try:
        resolve_action(action, Decision(decision="approve"), Decider(name=name))
    except ActionResolvedError as error:
        lost.append(error.action.decided_by_name)
    except OperationalError:
        _approve(action, name, outcomes)  # SQLite was busy: 503, try again
    else:
        won.append(name)
