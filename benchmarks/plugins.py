"""The processes of the benchmark plugin, the same for every host."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Protocol

from tests.support.sdk_environment import NEWEST_SDK, PluginProcess, sdk_environment

SDK_PLUGIN = "sdk"
WIRE_PLUGIN = "wire"
# The runner id of each kind of plugin, as our host names it.
RUNNERS = {
    SDK_PLUGIN: "plugin:langbot-benchmarks/load/default",
    WIRE_PLUGIN: "plugin:langbot-benchmarks/wire/default",
}

_HERE = Path(__file__).resolve().parent


class _Process(Protocol):
    @property
    def pid(self) -> int: ...

    def terminate(self) -> None: ...


class _WireProcess:
    """One process of `benchmarks.wire_plugin`."""

    def __init__(self, url: str, token: str):
        variables = {"DEBUG_RUNTIME_WS_URL": url, "PLUGIN_DEBUG_KEY": token}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.wire_plugin"],
            cwd=_HERE.parent,
            env=os.environ | variables,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()


class PluginPool:
    """Zero or more processes of one kind of benchmark plugin for one host."""

    def __init__(self, kind: str, url: str, token: str):
        self._kind = kind
        self._url = url
        self._token = token
        self._folder = Path(tempfile.mkdtemp(prefix="langbot-benchmark-"))
        self._processes: list[_Process] = []

    async def resize(self, count: int) -> None:
        """Start or end processes until there are `count`."""
        while len(self._processes) < count:
            self._processes.append(await asyncio.to_thread(self._start))
        while len(self._processes) > count:
            await asyncio.to_thread(self._processes.pop().terminate)

    def _start(self) -> _Process:
        if self._kind == WIRE_PLUGIN:
            return _WireProcess(self._url, self._token)
        # Each has its own copy: the SDK watches and writes below its folder.
        folder = self._folder / f"plugin-{len(self._processes)}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(_HERE / "plugin", folder)
        environment = sdk_environment(NEWEST_SDK)
        process = PluginProcess(environment, folder, self._url, self._token)
        process.start()
        return process

    async def close(self) -> None:
        """End all processes and remove their folders."""
        await self.resize(0)
        shutil.rmtree(self._folder, ignore_errors=True)

    def process_ids(self) -> list[int]:
        """Return the ids of the running processes."""
        return [process.pid for process in self._processes]
