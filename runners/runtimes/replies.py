"""What a remotely held run has said so far."""

import logging
import threading
from collections import OrderedDict

from runners.engine.results import ResultLog
from runners.engine.snapshot import load_runs, thaw
from runners.ledger.finishing import Reply
from runners.ledger.positions import run_outputs
from runners.models import AgentRun

logger = logging.getLogger(__name__)

# What a snapshot of another shape raises, and a run that was deleted meanwhile.
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)
_KEPT = 256  # logs of different claims; one holds the text of its run

Claim = tuple[int, int]  # a run under one fencing token


class KeptLogs:
    """Logs of claims that results came for lately, so that not each reads the ledger.

    A log counts only where the ledger still ends as it left it. Thread-safe.
    """

    def __init__(self) -> None:
        self._logs: OrderedDict[Claim, tuple[int, ResultLog]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, run: AgentRun) -> ResultLog:
        """Return the log of a locked run, and keep it no more: a failure spoils it."""
        with self._lock:
            last_seq, log = self._logs.pop(_claim(run), (None, None))
        return log if log is not None and last_seq == run.last_seq else log_of(run)

    def keep(self, run: AgentRun, last_seq: int, log: ResultLog) -> None:
        """Keep a log whose news are committed up to `last_seq`."""
        with self._lock:
            self._logs[_claim(run)] = last_seq, log
            while len(self._logs) > _KEPT:
                self._logs.popitem(last=False)


def log_of(run: AgentRun) -> ResultLog:
    """Return a log that goes on where the run's ledger ends.

    `run` is loaded as `load_runs` does.
    """
    log, output = ResultLog(thaw(run)), run_outputs([run])[run.pk]
    log.resume(run.last_runner_sequence, output.text, *output.before)
    log.files.resume(output.files)
    return log


def unfinished_reply(run: AgentRun) -> Reply | None:
    """Return what the run's present invocation said, marked incomplete."""
    (loaded,) = load_runs([run.pk])
    return log_of(loaded).reply(complete=False)


def said_so_far(run: AgentRun) -> Reply | None:
    """Return `unfinished_reply`, or None for a run whose ledger cannot be read.

    For sweeps: one row must never keep the others from ending.
    """
    try:
        return unfinished_reply(run)
    except UNREADABLE:
        logger.warning("what run %s said cannot be read", run.public_id)
        return None


def _claim(run: AgentRun) -> Claim:
    return run.pk, run.fencing_token
