"""The plugin process: it hosts runners and keeps them connected to the host.

`manage.py runplugins` and `python -m runners.sdk` start it. It never loads Django.
"""

import argparse
import asyncio
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from runners.protocol.errors import ProtocolError
from runners.protocol.frames import MAX_FRAME_BYTES
from runners.sdk.loading import SHIPPED, group, load_runners, select
from runners.sdk.logs import configure_logging
from runners.sdk.plugin import Plugin, PluginSession

KEY_HEADER: Final = "X-LangBot-Plugin-Debug-Key"  # wire 1.2
DEFAULT_PORT: Final = "8000"
OPEN_SECONDS: Final = 10.0  # wire 1.2
CLOSE_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 3.0  # wire 1.3
FIRST_RETRY_SECONDS: Final = 0.2  # the host may just be starting beside us
STABLE_SECONDS: Final = 10.0  # a connection that lived this long was a good one
MISUSE: Final = 2
REFUSALS: Final = frozenset({401, 403})  # wire 1.2
_TRUE: Final = frozenset({"1", "true", "t", "yes", "y", "on"})  # as the host reads it

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """Where to connect, with which plugin token, and what to host."""

    url: str
    key: str = field(repr=False)
    paths: tuple[str, ...] = SHIPPED
    log_level: str = "INFO"
    log_json: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the variables of the plugin process; raises OSError, ValueError."""
        url = (
            environment.get("DEBUG_RUNTIME_WS_URL")
            or environment.get("RUNTIME_WS_URL")
            or f"{_address(environment)}/ws/plugin/"
        )
        named = environment.get("LANGBOT_RUNNERS", "").split(",")
        key = _secret(environment, "PLUGIN_DEBUG_KEY")
        if not key:
            message = "PLUGIN_DEBUG_KEY (or PLUGIN_DEBUG_KEY_FILE) is not set"
            raise ValueError(message)
        return cls(
            url=url,
            key=key,
            paths=(*SHIPPED, *(path.strip() for path in named if path.strip())),
            log_level=environment.get("LOG_LEVEL") or "INFO",
            log_json=environment.get("LOG_JSON", "").lower() in _TRUE,
        )


class Backoff:
    """Waits between attempts: none at first, then growing to 3 s, with jitter."""

    def __init__(self) -> None:
        self._failures = 0

    def next_wait(self, lived_seconds: float) -> float:
        """Return the seconds to wait after a connection that lived so long."""
        if lived_seconds >= STABLE_SECONDS:
            self._failures = 0
        self._failures += 1
        if self._failures == 1:
            return 0.0
        wait = min(FIRST_RETRY_SECONDS * 2.0 ** (self._failures - 2), RETRY_SECONDS)
        return wait * random.uniform(0.8, 1.2)  # noqa: S311  # jitter, not a secret


async def keep_connected(plugin: Plugin, settings: Settings) -> None:
    """Connect, register and serve `plugin`, again and again, until cancelled."""
    backoff = Backoff()
    while True:
        started = time.monotonic()
        reason = "closed by the host"
        try:
            await _serve_once(plugin, settings)
        except (OSError, TimeoutError, WebSocketException, ProtocolError) as error:
            reason = _reason(error)
        wait = backoff.next_wait(time.monotonic() - started)
        logger.warning(
            "plugin not connected",
            extra={"plugin": plugin.name, "reason": reason, "retry_in": round(wait, 2)},
        )
        await asyncio.sleep(wait)


async def _serve_once(plugin: Plugin, settings: Settings) -> None:
    def registered() -> None:
        extra = {"plugin": plugin.name, "url": settings.url}
        logger.info("plugin registered", extra=extra)

    async with connect(
        settings.url,
        additional_headers={KEY_HEADER: settings.key},
        compression=None,
        max_size=MAX_FRAME_BYTES,
        open_timeout=OPEN_SECONDS,
        close_timeout=CLOSE_SECONDS,
        proxy=None,
    ) as socket:
        await PluginSession(plugin, socket).serve(settings.key, registered)


async def serve(plugins: Sequence[Plugin], settings: Settings) -> None:
    """Keep all `plugins` connected until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopped.set)
    tasks = [asyncio.create_task(keep_connected(p, settings)) for p in plugins]
    stopping = asyncio.create_task(stopped.wait())
    done, _ = await asyncio.wait([stopping, *tasks], return_when="FIRST_COMPLETED")
    for task in (stopping, *tasks):
        task.cancel()
    await asyncio.gather(stopping, *tasks, return_exceptions=True)
    for task in done - {stopping}:
        task.result()  # an error of ours: say so and let the supervisor restart us


def main(argv: Sequence[str] | None = None) -> int:
    """Run the plugin process; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="runplugins",
        description="Host the runners that ship and those named in LANGBOT_RUNNERS.",
    )
    parser.add_argument(
        "--only",
        metavar="NAME",
        nargs="+",
        action="extend",
        default=[],
        help="host only these: plugin name, author/plugin, or runner id",
    )
    options = parser.parse_args(argv)
    try:
        settings = Settings.from_environment(os.environ)
        configure_logging(settings.log_level, json=settings.log_json)
        runners = select(load_runners(settings.paths), options.only)
    except (OSError, ValueError, LookupError) as error:
        parser.exit(MISUSE, f"runplugins: {error}\n")
    if not runners:
        parser.exit(MISUSE, "runplugins: there is no runner to host\n")
    asyncio.run(serve(group(runners), settings))
    logger.info("stopped")
    return 0


def _address(environment: Mapping[str, str]) -> str:
    """Return where the host of this machine is: as PORT says, or as it left word."""
    if port := environment.get("PORT"):
        return f"ws://127.0.0.1:{port}"
    folder = Path(environment.get("LANGBOT_DATA_DIR") or "data")
    try:
        web = (folder / "run" / "web.url").read_text(encoding="utf-8").strip()
    except OSError:
        web = ""
    kept = web.removeprefix("http").rstrip("/")
    return f"ws{kept}" if kept else f"ws://127.0.0.1:{DEFAULT_PORT}"


def _reason(error: Exception) -> str:
    """Say why there is no connection; a refused token in plain words."""
    response = getattr(error, "response", None)
    if getattr(response, "status_code", None) in REFUSALS:
        return "the plugin token was refused: check PLUGIN_DEBUG_KEY"
    return f"{type(error).__name__}: {error}"


def _secret(environment: Mapping[str, str], name: str) -> str:
    path = environment.get(f"{name}_FILE")
    if path:
        return Path(path).read_text(encoding="utf-8").strip()
    return environment.get(name, "").strip()


if __name__ == "__main__":
    sys.exit(main())
