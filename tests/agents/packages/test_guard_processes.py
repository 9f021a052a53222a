"""Whatever a package has started is ended with it."""

import os
import selectors
import signal
import subprocess
import sys
import time

import psutil
import pytest

from agents.packages.guard_environment import MARKER
from agents.packages.guard_output import OutputGuard
from agents.packages.guard_processes import (
    _from_proc,
    _from_ps,
    end_marked,
    marked_processes,
)
from agents.packages.processes import GuardedProcess

# Of this process alone: others of the suite look for theirs at the same time.
RUN = f"test{os.getpid()}:run:"

# Starts a child that leaves the group, says both ids and waits.
FAMILY = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
code = "import time; time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def family(tmp_path):
    lines: list[str] = []
    with selectors.DefaultSelector() as selector:
        process = GuardedProcess(
            command=[sys.executable, "-c", FAMILY],
            folder=tmp_path,
            environment={"PATH": os.environ["PATH"], MARKER: f"{RUN}1:"},
            marker=f"{RUN}1:",
            output=OutputGuard(lines.append),
            selector=selector,
        )
        process.start()
        while not lines:
            selector.select(1)
            process.read()
        yield process, [psutil.Process(int(pid)) for pid in lines[0].split()]
        end_marked(f"{RUN}1:")


def test_a_stubborn_family_is_killed_with_those_that_left_the_group(family):
    process, members = family
    assert os.getpgid(members[0].pid) == members[0].pid
    process.stop()
    assert not process.has_ended()
    process.kill_at = 1e-9  # its ten seconds are over
    while not process.has_ended():
        pass
    assert process.exit_code == -9
    psutil.wait_procs(members, 5)
    assert not any(m.is_running() and m.status() != "zombie" for m in members)


def test_one_that_is_being_executed_is_not_overlooked(tmp_path):
    """It executes itself again and again, and has no environment in between."""
    script = tmp_path / "again"
    script.write_text('#!/bin/sh\nexec "$0"\n')
    script.chmod(0o755)
    for turn in range(30):
        marker = f"{RUN}again{turn}:"
        with subprocess.Popen([script], env={MARKER: marker}) as process:
            end_marked(marker)
            try:
                assert process.wait(1) == -signal.SIGKILL
            finally:
                process.kill()


def test_leftovers_are_found_by_their_marker_alone(family):
    process, members = family
    pids = {member.pid for member in members}
    assert set(marked_processes(f"{RUN}1:")) == pids
    assert marked_processes(f"{RUN}11:") == []
    assert end_marked(RUN) == 2
    assert process.has_ended()


@pytest.mark.parametrize("find", [_from_proc, _from_ps])
def test_both_ways_find_the_same(family, find):
    _process, members = family
    wanted = {member.pid for member in members}
    deadline = time.monotonic() + 30
    # One that is being executed just now has no environment to read.
    while set(find(f"{MARKER}={RUN}1:")) != wanted:
        assert time.monotonic() < deadline


def test_a_process_dies_with_the_one_that_started_it(tmp_path):
    parent = """
import selectors, sys, os
from agents.packages.guard_output import OutputGuard
from agents.packages.processes import GuardedProcess
code = "import time; time.sleep(600)"
child = GuardedProcess([sys.executable, "-c", code], ".", {}, "m", OutputGuard(print),
                       selectors.DefaultSelector())
child.start()
print(child.process.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", parent],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
    )
    assert done.stdout.strip(), done.stderr
    pid = int(done.stdout)
    try:
        orphan = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    psutil.wait_procs([orphan], 5)
    assert not orphan.is_running() or orphan.status() == "zombie"
