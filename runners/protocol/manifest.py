"""A plugin's container read into its runners (`wire.md` §3 and §4).

One broken component is listed with its reason and never hides the others.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from runners.protocol.errors import ErrorCode, ProtocolError

RUNNER_KIND: Final = "Runner"
AGENT_RUNNER_KIND: Final = "AgentRunner"
RUNNER_KINDS: Final = frozenset({RUNNER_KIND, AGENT_RUNNER_KIND})
DEFAULT_LOCALE: Final = "en_US"
MAX_RUNNERS: Final = 100  # of one plugin; far over any real one
MAX_FIELDS: Final = 200  # of one config schema; far over any real one

_PART = re.compile(r"[^\s/:\x00-\x1f\x7f]{1,100}")
_RUNNER_ID = re.compile(
    rf"plugin:({_PART.pattern})/({_PART.pattern})/({_PART.pattern})"
)
_OLD_KEYS: Final = ("config", "capabilities", "permissions", "usages", "events")


class ManifestError(ProtocolError):
    """A manifest that cannot be used; the message says what is wrong with it."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.INVALID_REQUEST, message)


class RunnerId(NamedTuple):
    """`plugin:author/name/runner` (LB-16)."""

    author: str
    plugin: str
    runner: str

    def __str__(self) -> str:
        return f"plugin:{self.author}/{self.plugin}/{self.runner}"


def parse_runner_id(text: str) -> RunnerId:
    """Split a runner id; raises `ManifestError` unless it has three good parts."""
    match = _RUNNER_ID.fullmatch(text)
    if match is None:
        message = "a runner id is plugin:author/name/runner"
        raise ManifestError(message)
    return RunnerId(*match.groups())


class Capabilities(BaseModel):
    """What a runner can do (LB-19); it drives forms and projection, grants nothing."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    streaming: bool = False
    tool_calling: bool = False
    knowledge_retrieval: bool = False
    multimodal_input: bool = False
    skill_authoring: bool = False
    interrupt: bool = False
    steering: bool = False
    interactions: bool = False
    # Beyond released SDKs: it goes on after a pause, from the history or from what
    # `metadata.resume` says.
    resume: bool = False


_PERMISSIONS: Final[dict[str, frozenset[str]]] = {
    "models": frozenset({"invoke", "stream", "rerank", "count_tokens"}),
    "tools": frozenset({"detail", "call"}),
    "knowledge_bases": frozenset({"list", "retrieve"}),
    "history": frozenset({"page", "search"}),
    "events": frozenset({"get", "page"}),
    "storage": frozenset({"plugin", "workspace"}),
    "interactions": frozenset({"request"}),
}
# Keys of the source-built SDKs only; released ones have none for artifacts (wire 5.3).
_AGENT_RUNNER_PERMISSIONS: Final[dict[str, frozenset[str]]] = {
    "artifacts": frozenset({"metadata", "read"}),
    "files": frozenset({"config", "knowledge"}),
}


@dataclass(frozen=True, slots=True)
class RunnerManifest:
    """One runner a plugin offers. Labels are by locale, as the plugin wrote them."""

    id: str
    kind: str
    author: str
    plugin: str
    name: str
    version: str
    label: dict[str, str]
    description: dict[str, str]
    usages: tuple[str, ...]
    event_patterns: tuple[str, ...]
    capabilities: Capabilities
    permissions: dict[str, tuple[str, ...]]
    config_schema: list[dict[str, Any]]
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class InvalidComponent:
    """A component that should be a runner and is not usable, with the reason."""

    name: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class PluginManifest:
    author: str
    name: str
    version: str
    label: dict[str, str]
    description: dict[str, str]
    status: str
    components: tuple[RunnerManifest | InvalidComponent, ...] = ()
    has_icon: bool = False
    other_kinds: tuple[str, ...] = ()
    """Kinds of its other components: tools, commands, or some nobody knows here."""

    @property
    def plugin(self) -> str:
        """`author/name`, what plugin tokens are bound to."""
        return f"{self.author}/{self.name}"

    @property
    def runners(self) -> tuple[RunnerManifest, ...]:
        return tuple(c for c in self.components if isinstance(c, RunnerManifest))

    @property
    def invalid(self) -> tuple[InvalidComponent, ...]:
        return tuple(c for c in self.components if isinstance(c, InvalidComponent))


def parse_container(container: Any) -> PluginManifest:
    """Read what `register_plugin` or `get_plugin_container` carries.

    Raises `ManifestError` when the plugin itself has no usable identity; what is wrong
    with a component is listed in place of its runner.
    """
    if not isinstance(container, Mapping):
        message = "the plugin container is not an object"
        raise ManifestError(message)
    manifest = _inner_manifest(container)
    metadata = _mapping(manifest, "metadata")
    spec = _mapping(manifest, "spec")
    plugin = PluginManifest(
        author=_part(metadata, "author"),
        name=_part(metadata, "name"),
        version=str(metadata.get("version") or spec.get("version") or "")[:100],
        label=_locales(metadata, "label") or _plain_label(metadata["name"]),
        description=_locales(metadata, "description"),
        status=str(container.get("status") or "")[:100],
        has_icon=bool(metadata.get("icon")),
    )
    return replace(
        plugin,
        components=_components(plugin, container),
        other_kinds=_other_kinds(container),
    )


def _components(
    plugin: PluginManifest, container: Mapping[str, Any]
) -> tuple[RunnerManifest | InvalidComponent, ...]:
    components = container.get("components") or []
    if not isinstance(components, list):
        message = "components is not a list"
        raise ManifestError(message)
    found: list[RunnerManifest | InvalidComponent] = []
    names: set[str] = set()
    for component in components[:MAX_RUNNERS]:
        parsed = _component(plugin, component)
        if parsed is None:
            continue
        if parsed.name in names and isinstance(parsed, RunnerManifest):
            reason = "another component of this plugin has the same name"
            parsed = InvalidComponent(parsed.name, parsed.kind, reason)
        names.add(parsed.name)
        found.append(parsed)
    return tuple(found)


def _other_kinds(container: Mapping[str, Any]) -> tuple[str, ...]:
    kinds = set()
    for component in container.get("components") or []:
        try:
            kinds.add(str(_inner_manifest(component).get("kind"))[:100])
        except ManifestError:
            continue  # listed among the components, with the reason
    return tuple(sorted(kinds - RUNNER_KINDS))


def _component(
    plugin: PluginManifest, component: Any
) -> RunnerManifest | InvalidComponent | None:
    """Return the runner, the reason why it is none, or None for another kind."""
    name, kind = "", ""
    try:
        manifest = _inner_manifest(component)
        kind = str(manifest.get("kind") or "")
        if kind not in RUNNER_KINDS:
            return None
        metadata = manifest.get("metadata")
        if isinstance(metadata, Mapping):
            name = str(metadata.get("name") or "")[:100]
        return _runner(plugin, kind, manifest)
    except ManifestError as error:
        return InvalidComponent(name, kind, error.message)


def _runner(
    plugin: PluginManifest, kind: str, manifest: dict[str, Any]
) -> RunnerManifest:
    metadata, spec = _mapping(manifest, "metadata"), _mapping(manifest, "spec")
    name = _part(metadata, "name")
    runner_id = str(RunnerId(plugin.author, plugin.name, name))
    claimed = manifest.get("id") or metadata.get("id")
    if claimed and claimed != runner_id:  # LB-18
        message = f"id is {str(claimed)[:200]!r}, it must be {runner_id!r}"
        raise ManifestError(message)
    # Old manifests have these at the top instead of below spec (LB-21).
    old = {key: manifest[key] for key in _OLD_KEYS if manifest.get(key) is not None}
    source = {**old, **{key: value for key, value in spec.items() if value is not None}}
    return RunnerManifest(
        id=runner_id,
        kind=kind,
        author=plugin.author,
        plugin=plugin.name,
        name=name,
        version=plugin.version,
        label=_locales(metadata, "label") or _plain_label(name),
        description=_locales(metadata, "description"),
        usages=_strings(source, "usages") or ("agent",),
        event_patterns=_strings(source, "events") or ("*",),
        capabilities=_capabilities(source),
        permissions=_permissions(source, kind),
        config_schema=_config_schema(source, runner_id),
        raw=manifest,
    )


def _capabilities(source: Mapping[str, Any]) -> Capabilities:
    try:
        return Capabilities.model_validate(_mapping(source, "capabilities"))
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:100] for part in detail["loc"])
        message = f"capabilities.{where}: {detail['msg']}"
        raise ManifestError(message) from None


def _permissions(source: Mapping[str, Any], kind: str) -> dict[str, tuple[str, ...]]:
    known = dict(_PERMISSIONS)
    if kind == AGENT_RUNNER_KIND:
        known |= _AGENT_RUNNER_PERMISSIONS
    permissions = _mapping(source, "permissions")
    result: dict[str, tuple[str, ...]] = {}
    for key in permissions:
        operations = _strings(permissions, key)
        unknown = sorted(set(operations) - known.get(key, frozenset()))
        if key not in known or unknown:
            bad = f"{key}: {', '.join(unknown)}" if key in known else str(key)
            message = f"unknown permission {bad[:200]}"
            raise ManifestError(message)
        result[key] = tuple(dict.fromkeys(operations))
    return result


def _config_schema(source: Mapping[str, Any], runner_id: str) -> list[dict[str, Any]]:
    """Return the fields, each with an id that no other runner's field has (LB-25)."""
    schema = source.get("config") or source.get("config_schema") or []
    if not isinstance(schema, list) or len(schema) > MAX_FIELDS:
        message = f"config must be a list of at most {MAX_FIELDS} fields"
        raise ManifestError(message)
    names = set()
    for item in schema:
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or not name or name in names:
            message = "every config field needs a name of its own"
            raise ManifestError(message)
        names.add(name)
    return [{**item, "id": _field_id(item, runner_id)} for item in schema]


def _field_id(item: Mapping[str, Any], runner_id: str) -> str:
    given = item.get("id")
    is_id = isinstance(given, str) and given.strip()
    return str(given) if is_id else f"{runner_id}.{item['name']}"


def _inner_manifest(outer: Any) -> dict[str, Any]:
    # A container wraps the YAML: {"manifest": {"owner", "rel_path", "manifest": YAML}}.
    for _ in range(2):
        outer = outer.get("manifest") if isinstance(outer, Mapping) else None
    if not isinstance(outer, dict):
        message = "manifest is missing"
        raise ManifestError(message)
    return outer


def _mapping(source: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = source.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        message = f"{key} must be an object"
        raise ManifestError(message)
    return value


def _part(metadata: Mapping[str, Any], key: str) -> str:
    value = metadata.get(key)
    if not isinstance(value, str) or _PART.fullmatch(value) is None:
        message = f"metadata.{key} must be 1 to 100 characters without / : or spaces"
        raise ManifestError(message)
    return value


def _strings(source: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = source.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        message = f"{str(key)[:100]} must be a list of strings"
        raise ManifestError(message)
    return tuple(value)


def _locales(metadata: Mapping[str, Any], key: str) -> dict[str, str]:
    value = metadata.get(key)
    if isinstance(value, str):
        return _plain_label(value) if value else {}
    if not isinstance(value, dict):
        return {}
    return {
        locale: text for locale, text in value.items() if isinstance(text, str) and text
    }


def _plain_label(text: str) -> dict[str, str]:
    return {DEFAULT_LOCALE: text}
