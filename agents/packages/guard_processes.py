"""Ending every process of a package, also those that left its process group (LB-163).

Each process carries in its environment which package it belongs to, and hands that to
whatever it starts. So those of a supervisor that was killed are found again, and none
runs twice.
"""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from agents.packages.guard_environment import MARKER

_PROC: Final = Path("/proc")
_KILL_SECONDS: Final = 5.0
_LOOKS_WITHOUT: Final = 2
_KERNEL_SECONDS: Final = 0.01
_EXECUTING_SECONDS: Final = 0.05
# For 20 ms in all: to be executed takes a small part of that.
_READS: Final = 40
_READ_SECONDS: Final = 0.0005


def end_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Send a signal to a process and all of its group; it leads one of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def marked_processes(marker: str) -> list[int]:
    """Return the processes whose marker begins with this one, ours excepted."""
    wanted = f"{MARKER}={marker}"
    found = _from_proc(wanted) if _PROC.is_dir() else _from_ps(wanted)
    return [pid for pid in found if pid != os.getpid()]


def end_marked(marker: str) -> int:
    """Kill the processes of a marker until none is left; returns how many were.

    A process that is just being executed shows no environment for a moment: none is
    left when a second look, a little later, finds none either. Raises TimeoutError
    when one does not go within 5 s.
    """
    ended: set[int] = set()
    deadline = time.monotonic() + _KILL_SECONDS
    looks_without = 0
    while looks_without < _LOOKS_WITHOUT:
        pids = marked_processes(marker)
        looks_without = 0 if pids else looks_without + 1
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        ended.update(pids)
        if time.monotonic() > deadline:
            message = f"processes of {marker} do not end: {pids}"
            raise TimeoutError(message)
        # The kernel takes a moment; what they started comes next.
        time.sleep(_KERNEL_SECONDS if pids else _EXECUTING_SECONDS)
    return len(ended)


def _from_proc(wanted: str) -> list[int]:
    prefix, found = wanted.encode(), []
    for folder in _PROC.iterdir():
        if not folder.name.isdigit():
            continue
        # It ended meanwhile, or belongs to somebody else.
        with contextlib.suppress(OSError):
            variables = _environment(folder).split(b"\0")
            if any(variable.startswith(prefix) for variable in variables):
                found.append(int(folder.name))
    return found


def _environment(folder: Path) -> bytes:
    """Read it some more times while it is empty, as that of one being executed is.

    Raises OSError for what has no program: kernel threads, and processes that ended.
    """
    for _ in range(_READS):
        if found := (folder / "environ").read_bytes():
            return found
        (folder / "exe").readlink()
        time.sleep(_READ_SECONDS)
    return b""


def _from_ps(wanted: str) -> list[int]:
    """Ask `ps`, which shows the environments of one's own processes."""
    command = ["ps", "axeww", "-o", "pid=,command="]
    shown = subprocess.run(  # noqa: S603 - our own command line
        command, check=False, capture_output=True, text=True, errors="replace"
    )
    lines = (line.strip().partition(" ") for line in shown.stdout.splitlines())
    return [int(pid) for pid, _, rest in lines if f" {wanted}" in rest]
