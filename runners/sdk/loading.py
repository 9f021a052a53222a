"""Find the runners of a plugin process: those that ship and those that are named."""

import importlib
import logging
from collections.abc import Iterable, Sequence
from typing import Final

from runners.protocol.manifest import ManifestError
from runners.sdk.plugin import Plugin
from runners.sdk.runner import Runner, check_runner

SHIPPED: Final = (
    "runners.official.echo.EchoRunner",
    "runners.official.local_agent.LocalAgentRunner",
)

logger = logging.getLogger(__name__)


class RunnerImportError(Exception):
    """A dotted path that leads to no usable runner; the message says why."""


def load_runner(path: str) -> Runner:
    """Import and create the `Runner` subclass at `path`.

    Raises `RunnerImportError`; what the module itself raises is its cause.
    """
    module_name, _, attribute = path.rpartition(".")
    if not module_name:
        message = f"{path!r} is not a dotted path to a class"
        raise RunnerImportError(message)
    try:
        runner_type = getattr(importlib.import_module(module_name), attribute)
        if not (isinstance(runner_type, type) and issubclass(runner_type, Runner)):
            message = f"{path} is not a subclass of runners.sdk.Runner"
            raise RunnerImportError(message)
        check_runner(runner_type)
        return runner_type()
    except ManifestError as error:
        message = f"{path}: {error.message}"
        raise RunnerImportError(message) from error
    except (ImportError, AttributeError, TypeError) as error:
        message = f"{path}: {error}"
        raise RunnerImportError(message) from error


def load_runners(paths: Iterable[str]) -> list[Runner]:
    """Load what can be loaded; every failure is logged and hides nobody else."""
    loaded: dict[str, Runner] = {}
    for path in dict.fromkeys(paths):
        try:
            runner = load_runner(path)
        except RunnerImportError as error:
            logger.error(
                "runner not loaded", extra={"path": path, "reason": str(error)}
            )
        except Exception:
            # A team's module may raise anything while it is imported.
            logger.exception("runner not loaded", extra={"path": path})
        else:
            if loaded.setdefault(runner.runner_id(), runner) is not runner:
                reason = f"{runner.runner_id()} is taken by another class"
                logger.error(
                    "runner not loaded", extra={"path": path, "reason": reason}
                )
    return list(loaded.values())


def select(runners: Sequence[Runner], names: Sequence[str]) -> list[Runner]:
    """Keep the named ones: a plugin name, `author/plugin` or a runner id.

    Raises `LookupError` for a name that fits none.
    """
    if not names:
        return list(runners)
    chosen = []
    for name in names:
        found = [runner for runner in runners if name in _names(runner)]
        if not found:
            known = ", ".join(runner.runner_id() for runner in runners) or "none"
            message = f"no runner is named {name!r}; there are: {known}"
            raise LookupError(message)
        chosen += [runner for runner in found if runner not in chosen]
    return chosen


def group(runners: Iterable[Runner]) -> list[Plugin]:
    """Return one plugin for each author and plugin name."""
    by_plugin: dict[tuple[str, str], list[Runner]] = {}
    for runner in runners:
        by_plugin.setdefault((runner.author, runner.plugin), []).append(runner)
    return [Plugin(members) for members in by_plugin.values()]


def _names(runner: Runner) -> tuple[str, str, str]:
    plugin = f"{runner.author}/{runner.plugin}"
    return runner.plugin, plugin, runner.runner_id()
