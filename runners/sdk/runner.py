"""The class a team subclasses, and how it describes itself to the host."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from runners.protocol.manifest import (
    DEFAULT_LOCALE,
    ManifestError,
    RunnerId,
    parse_container,
)
from runners.sdk.context import RunContext
from runners.sdk.results import Result

if TYPE_CHECKING:
    from runners.sdk.testing import Given, RunOutcome


class Runner(ABC):
    """Answer events of one kind of agent.

    The host knows it as `plugin:<author>/<plugin>/<name>`. One instance serves every
    run of its process, at the same time, so `run` keeps what it needs in local names.
    """

    author: ClassVar[str] = ""
    plugin: ClassVar[str] = ""
    name: ClassVar[str] = "default"
    version: ClassVar[str] = "0.1.0"
    label: ClassVar[str | Mapping[str, str]] = ""
    """One text, or texts by locale (`en_US`, `zh_Hans`); default the plugin's name."""
    description: ClassVar[str | Mapping[str, str]] = ""
    capabilities: ClassVar[Iterable[str]] = ("streaming",)
    permissions: ClassVar[Mapping[str, Sequence[str]]] = {}
    """What it asks the host for, by resource: `{"models": ["invoke", "stream"]}`."""
    config: ClassVar[Sequence[Mapping[str, Any]]] = ()
    """The fields of the agent form: `name`, `type`, `label`, `default`, `required`."""

    @abstractmethod
    def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        """Yield the results of one run; write it as an async generator.

        Ending without a terminal result completes the run, an exception fails it. A
        cancelled run sees `asyncio.CancelledError` at its next await.
        """

    @classmethod
    async def test(cls, text: str = "", **given: "Unpack[Given]") -> "RunOutcome":
        """Run this runner without a server, for tests of it.

        `given` is what the host has: `config`, `state`, `history`, `models`, `tools`
        and the others of `runners.sdk.testing.Given`.
        """
        from runners.sdk.testing import run_runner

        return await run_runner(cls(), text, given)

    @classmethod
    def runner_id(cls) -> str:
        return str(RunnerId(cls.author, cls.plugin, cls.name))

    @classmethod
    def component(cls) -> dict[str, Any]:
        """Return this runner as a component of its plugin's container (wire 3)."""
        metadata = {
            "name": cls.name,
            "label": _locales(cls.label or cls.plugin),
            "description": _locales(cls.description),
        }
        spec = {
            "usages": ["agent"],
            "capabilities": dict.fromkeys(cls.capabilities, True),
            "permissions": {key: list(value) for key, value in cls.permissions.items()},
            "config": [dict(field) for field in cls.config],
        }
        manifest = {
            "apiVersion": "langbot/v1",
            "kind": "Runner",
            "metadata": metadata,
            "spec": spec,
            "execution": {"python": {"path": cls.__module__, "attr": cls.__qualname__}},
        }
        return {
            "component_instance": None,
            "component_config": {},
            "manifest": {"owner": "builtin", "rel_path": "", "manifest": manifest},
        }


def _plugin_manifest(first: type[Runner]) -> dict[str, Any]:
    metadata = {
        "author": first.author,
        "name": first.plugin,
        "version": first.version,
        "repository": "",
        "label": _locales(first.label or first.plugin),
        "description": _locales(first.description),
    }
    return {
        "apiVersion": "v1",
        "kind": "Plugin",
        "metadata": metadata,
        "spec": {"config": [], "components": {"Runner": {}}, "pages": []},
        "execution": {"python": {"path": first.__module__, "attr": first.__qualname__}},
    }


def plugin_container(
    runners: Sequence[type[Runner]], status: str = "mounted"
) -> dict[str, Any]:
    """Return the container of the plugin that `runners` together make (wire 3)."""
    manifest = _plugin_manifest(runners[0])
    return {
        "debug": False,
        "install_source": "",
        "install_info": {},
        "manifest": {"owner": "builtin", "rel_path": "", "manifest": manifest},
        "plugin_instance": None,
        "enabled": True,
        "priority": 0,
        "plugin_config": {},
        "status": status,
        "components": [runner.component() for runner in runners],
    }


def check_runner(runner: type[Runner]) -> None:
    """Raise `ManifestError` when the host would not list this runner."""
    for component in parse_container(plugin_container([runner])).invalid:
        raise ManifestError(component.reason)


def _locales(text: str | Mapping[str, str]) -> dict[str, str]:
    if isinstance(text, str):
        return {DEFAULT_LOCALE: text} if text else {}
    return dict(text)
