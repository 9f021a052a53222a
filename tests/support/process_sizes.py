"""How much processes grow while something is done to them."""

import threading
from collections.abc import Mapping
from typing import Self

import psutil

_POLL_SECONDS = 0.1


class Sizes:
    """How much each process grew at most while a `with` block lasts, in MB."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._done = threading.Event()

    def __enter__(self) -> Self:
        self._before = self._now()
        self._most = dict(self._before)
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _now(self) -> dict[str, int]:
        return {name: one.memory_info().rss for name, one in self._processes.items()}

    def _watch(self) -> None:
        while not self._done.wait(_POLL_SECONDS):
            now = self._now()
            self._most = {
                name: max(most, now[name]) for name, most in self._most.items()
            }

    @property
    def growth(self) -> dict[str, int]:
        """Return the MB by name, rounded."""
        return {
            name: round((most - self._before[name]) / 2**20)
            for name, most in self._most.items()
        }
