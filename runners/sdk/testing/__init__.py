"""Tests of runners without a server: `outcome = await MyRunner.test("hello")`.

The runner is carried as in a plugin process: the same deadline, the same frames, the
same end for what it raises. Only the host is in memory, and its answers come from what
the test gives. It grants what the runner's own `permissions` ask for and no more, so a
forgotten permission fails here and not in production.
"""

from runners.sdk.testing.given import Given
from runners.sdk.testing.host import HostCallMade
from runners.sdk.testing.run import RunOutcome, run_runner

__all__ = ["Given", "HostCallMade", "RunOutcome", "run_runner"]
