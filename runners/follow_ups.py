"""How often one person may add to a queue: 30 messages in 60 s, whatever the way in.

Counted in Redis over all conversations of the person; without Redis everybody passes
(AG-08, C-45).
"""

import math

from langbot.lib import buckets
from langbot.lib.conf import limits
from runners.errors import TooManyFollowUpsError

PERIOD_SECONDS = 60.0


def count_follow_up(person: str) -> None:
    """Take one of the person's follow-ups; raises TooManyFollowUpsError.

    Asks Redis for up to 0.3 s, so never call it inside a transaction.
    """
    taken = buckets.take(
        f"follow-ups:{person}", limits().follow_ups_per_minute, PERIOD_SECONDS
    )
    if taken is not None and taken.wait_seconds:
        raise TooManyFollowUpsError(math.ceil(taken.wait_seconds))
