"""How often platforms may call; without Redis everybody passes (C-45)."""

from langbot.lib import buckets


def seconds_to_wait(name: str, tokens: int, period_seconds: float) -> float:
    """Take a token of a bucket that refills `tokens` in a period.

    Returns 0 when there was one, else the seconds until there is.
    """
    taken = buckets.take(name, tokens, period_seconds)
    return 0.0 if taken is None else taken.wait_seconds
