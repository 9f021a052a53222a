"""The engine's thread in a worker process."""

import asyncio
import logging
import os
import signal
import threading
from functools import lru_cache

from langbot.lib.collector import settle
from runners.engine.engine import Engine

logger = logging.getLogger(__name__)

STOP_SECONDS = 10.0  # a draining worker exits within this


class EngineProcess:
    """Runs one engine on one loop in one thread; start and stop are idempotent."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engine: Engine | None = None
        self._ready = threading.Event()
        self._stopping: asyncio.Event | None = None

    def start(self) -> None:
        """Start the loop; returns when runs can be offered."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="engine", daemon=True
            )
            self._thread.start()
        self._ready.wait()

    def offer(self, run_ids: list[int]) -> None:
        """Hand queued runs to the loop; callable from any thread."""
        if self._loop is not None and self._engine is not None:
            self._loop.call_soon_threadsafe(self._offer, run_ids)

    def look_for_decisions(self) -> None:
        """Have paused runs that people decided about go on; from any thread."""
        if self._loop is not None and self._engine is not None:
            self._loop.call_soon_threadsafe(self._engine.decisions.look)

    def stop(self) -> None:
        """Drain: release every run to other workers, at most 10 s."""
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _offer(self, run_ids: list[int]) -> None:
        if self._engine is not None:
            self._engine.starter.offer(run_ids)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception:
            logger.exception("the engine died, so its worker ends")
            os.kill(os.getpid(), signal.SIGTERM)  # whoever supervises starts another
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        engine = Engine()
        await engine.start()
        settle()
        self._engine = engine
        self._ready.set()
        await self._stopping.wait()
        await engine.stop()
        logger.info("engine stopped")


@lru_cache(maxsize=1)
def engine_process() -> EngineProcess:
    """Return this process's engine."""
    return EngineProcess()
