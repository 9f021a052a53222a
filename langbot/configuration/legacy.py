"""Old pipeline configuration, read as what an agent is today (LB-101, LB-102).

Pure functions: what a document becomes depends on nothing but the document.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import Any

from django.utils.text import slugify
from django.utils.translation import gettext as _

Content = dict[str, Any]
LOCAL_AGENT = "local-agent"
RUNNERS = {
    LOCAL_AGENT: "plugin:langbot/local-agent/default",
    "dify-service-api": "plugin:langbot/dify-agent/default",
    "n8n-service-api": "plugin:langbot/n8n-agent/default",
    "coze-api": "plugin:langbot/coze-agent/default",
    "dashscope-app-api": "plugin:langbot/dashscope-agent/default",
    "langflow-api": "plugin:langbot/langflow-agent/default",
    "tbox-app-api": "plugin:langbot/tbox-agent/default",
}
_NO_BASE = {"", "none", "__none__"}
_SLUG_CHARACTERS = 50
_SUFFIX_CHARACTERS = 9  # `-` and the beginning of an old id
# What the adapter of messages gave every old pipeline (C-18).
_SCOPES = ["conversation", "actor", "subject", "runner"]


class LegacyError(ValueError):
    """A document that cannot become an agent; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class LegacyAgent:
    """One pipeline: who answers, with which settings."""

    slug: str
    name: str
    description: str
    runner_id: str
    runner_config: Content
    expire_seconds: int
    pipeline: str = ""  # its old id, which bots name

    @property
    def state_policy(self) -> Content:
        """Return the scopes that old pipelines had, and their expiry (LB-103)."""
        return {"scopes": _SCOPES, "expire_seconds": self.expire_seconds}


@dataclass(frozen=True, slots=True)
class LegacyBot:
    """A bot that named a pipeline."""

    name: str
    pipeline: str


@dataclass(slots=True)
class LegacyDocument:
    """A file: what can be read of it, and what cannot, by name."""

    agents: list[LegacyAgent] = field(default_factory=list)
    bots: list[LegacyBot] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


def read_legacy(content: Any) -> LegacyDocument:
    """Read one pipeline, a list of them, or `{"pipelines": […], "bots": […]}`."""
    found = LegacyDocument()
    taken: dict[str, str] = {}
    pipelines, bots = _parts(content)
    for number, pipeline in enumerate(pipelines, 1):
        name = _name_of(pipeline) or f"#{number}"
        try:
            found.agents.append(_apart(read_pipeline(pipeline), taken))
        except LegacyError as error:
            found.problems.append((name, str(error)))
    found.bots = list(_bots(bots))
    return found


def _apart(agent: LegacyAgent, taken: dict[str, str]) -> LegacyAgent:
    """Return the agent with a slug of its own: pipelines may have one name.

    `taken` has the pipelines by slug; the same document always gives the same slugs.
    """
    start = agent.slug[: _SLUG_CHARACTERS - _SUFFIX_CHARACTERS].rstrip("-_")
    known = slugify(agent.pipeline)[:8].strip("-_")
    numbered = (f"{start}-{number}" for number in count(2))
    slugs = chain([agent.slug], [f"{start}-{known}"] if known else [], numbered)
    mine = {agent.pipeline} - {""}  # listed twice, it is one agent all the same
    slug = next(one for one in slugs if one not in taken or taken[one] in mine)
    taken[slug] = agent.pipeline
    return replace(agent, slug=slug)


def _parts(content: Any) -> tuple[list[Any], list[Any]]:
    if isinstance(content, list):
        return content, []
    if isinstance(content, Mapping) and isinstance(content.get("pipelines"), list):
        bots = content.get("bots")
        return content["pipelines"], bots if isinstance(bots, list) else []
    return [content], []


def _bots(rows: list[Any]) -> Iterator[LegacyBot]:
    for row in rows:
        name, pipeline = _name_of(row), _text(row, "use_pipeline_uuid")
        if name and pipeline:
            yield LegacyBot(name, pipeline)


def read_pipeline(pipeline: Any) -> LegacyAgent:
    """Return the agent of one pipeline; raises LegacyError."""
    if not isinstance(pipeline, Mapping):
        raise LegacyError(_("Enter a JSON object."))
    config = pipeline.get("config", pipeline)
    ai = config.get("ai") if isinstance(config, Mapping) else None
    if not isinstance(ai, Mapping):
        raise LegacyError(_("It has no section “ai”."))
    name, runner = _name_of(pipeline) or _("Pipeline"), _object(ai, "runner")
    runner_id, configs = migrate_ai(ai)
    return LegacyAgent(
        slug=_slug(name, _text(pipeline, "uuid")),
        name=name[:200],
        description=_text(pipeline, "description")[:20_000],
        runner_id=runner_id,
        runner_config=configs.get(runner_id, {}),
        expire_seconds=_seconds(runner.get("expire-time")),
        pipeline=_text(pipeline, "uuid"),
    )


def migrate_ai(ai: Mapping[str, Any]) -> tuple[str, dict[str, Content]]:
    """Return the runner's id and the settings of every runner, old and new ones.

    Old blocks stand under their old name; what the new place has already wins.
    Raises LegacyError.
    """
    runner = _object(ai, "runner")
    old = _text(runner, "runner")
    runner_id = _text(runner, "id") or RUNNERS.get(old, old)
    if not runner_id.startswith("plugin:"):
        raise LegacyError(_("Unknown runner: %(name)s") % {"name": old or "—"})
    new = _object(ai, "runner_config")
    configs = {name: dict(_object(new, name)) for name in new}
    for name, known_id in RUNNERS.items():
        block = dict(_object(ai, name))
        if block:
            configs[known_id] = {**block, **configs.get(known_id, {})}
    local = RUNNERS[LOCAL_AGENT]
    if local in configs:
        configs[local] = migrate_local_agent(configs[local])
    return runner_id, configs


def migrate_local_agent(config: Content) -> Content:
    """Return the settings with a chain of models and a list of knowledge bases."""
    changed = dict(config)
    if isinstance(changed.get("model"), str):
        changed["model"] = {"primary": changed["model"], "fallbacks": []}
    if "knowledge-base" in changed:
        base = changed.pop("knowledge-base")
        known = isinstance(base, str) and base.lower() not in _NO_BASE
        changed.setdefault("knowledge-bases", [base] if known else [])
    return changed


def _seconds(value: Any) -> int:
    """Return the expiry; what is no time of at least a second means never."""
    is_time = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_time and 1 <= value < 2**31 else 0


def _slug(name: str, pipeline: str) -> str:
    return slugify(name)[:_SLUG_CHARACTERS].strip("-_") or f"pipeline-{pipeline[:8]}"


def _name_of(row: Any) -> str:
    return _text(row, "name").strip()


def _text(row: Any, name: str) -> str:
    value = row.get(name) if isinstance(row, Mapping) else None
    return value if isinstance(value, str) else ""


def _object(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = row.get(name)
    return value if isinstance(value, Mapping) else {}
