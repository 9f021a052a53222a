"""Memory that a load has left behind goes back to the system."""

import os
import subprocess
import sys
from textwrap import dedent

import pytest

# In a process of its own: what the test process keeps would hide it. The small blocks
# in between stay, so the heap cannot simply shrink.
PROGRAM = dedent(
    """
    import os, sys
    from pathlib import Path
    from langbot.lib import collector

    PAGE = os.sysconf("SC_PAGE_SIZE")

    def megabytes():
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE >> 20

    def work():
        kept, blocks = [], []
        for _ in range(2_000):
            blocks.append(bytearray(64 * 1024))
            kept.append(bytearray(1024))
        return kept

    kept = work()
    before = megabytes()
    {act}
    print(before - megabytes())
    """
)
pytestmark = pytest.mark.skipif(
    os.confstr("CS_GNU_LIBC_VERSION") is None, reason="only glibc is asked to release"
)
RELEASED = 80  # of 125 MB
AT_REST = """
import time
collector._LOOK_SECONDS, collector._REST_SECONDS = 0.2, 0.1
collector.settle()
began = time.process_time()
while time.process_time() - began < 0.6:
    pass
deadline = time.monotonic() + 20
while megabytes() > before - 80 and time.monotonic() < deadline:
    time.sleep(0.1)
"""


def released(act):
    command = [sys.executable, "-c", PROGRAM.replace("{act}", act)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(found.stdout)


def test_release_returns_what_lies_between_blocks_in_use():
    assert released("pass") < RELEASED
    assert released("collector.release()") >= RELEASED


def test_a_process_at_rest_releases_by_itself():
    assert released(AT_REST) >= RELEASED
