"""What Python teams import to write runners.

    from runners.sdk import Runner, RunContext, results

A runner is a class with an async generator `run(self, ctx)` that yields results. It
runs in a plugin process of its own, which never loads Django.
"""

from runners.sdk import interactions, results
from runners.sdk.api import HostApi, HostCallError
from runners.sdk.context import RunContext
from runners.sdk.results import Result
from runners.sdk.runner import Runner

__all__ = [
    "HostApi",
    "HostCallError",
    "Result",
    "RunContext",
    "Runner",
    "interactions",
    "results",
]
