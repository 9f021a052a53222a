"""Changing agents: every save is checked, versioned and audited in one transaction."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain, count
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import PROTECT, ProtectedError, Q
from django.utils.translation import gettext_lazy as _
from pydantic import ValidationError as PolicyError

from agents.bindings import (
    check_binding,
    delete_binding,
    lock_places,
    save_binding,
)
from agents.config_secrets import (
    is_sealed,
    keep_masked,
    mask_config,
    reveal_config,
    seal_config,
    secrets_of,
)
from agents.models import POLICIES, Agent, AgentVersion, Model, RunnerDescriptor
from agents.registry.config_schema import (
    read_schema,
    selected_models,
    validate_config,
    without_required_secrets,
)
from langbot.core.audit import changes, record_act
from langbot.core.authors import check_secrets
from langbot.lib.conf import limits
from langbot.lib.models import lock_rows
from langbot.lib.secrets import SecretUnreadableError

RUNNER_ID = r"^plugin:[^/:\s]+/[^/\s]+/[^/\s]+$"  # JSON Schema reads it too
CONTENT = (
    "slug",
    "name",
    "description",
    "enabled",
    "runner_id",
    "resource_policy",
    "state_policy",
    "delivery_policy",
    "approval_policy",
    "event_types",
    "session_scope",
    "multitask_strategy",
)  # and `runner_config`, masked


def save_agent(
    agent: Agent, *, author: str, action: str = "", secrets_later: bool = False
) -> Agent:
    """Check and save an agent, write its next version and an audit entry.

    Content equal to the stored one is no change: no version, no entry. Safe to call
    concurrently: the row is locked, version numbers are dense. A masked secret keeps
    the stored one; with `secrets_later` a missing one does too, or people enter it
    afterwards. `action` names the act in the audit log. Raises ValidationError;
    messages about the runner's configuration are under `runner_config`, each
    beginning with the name of the setting.
    """
    with transaction.atomic():
        stored = _lock(agent)
        agent.runner_config = _checked_config(
            agent, stored, secrets_later=secrets_later
        )
        agent.full_clean()
        _check_event_types(agent)
        kept = secrets_of(stored.runner_config) if stored is not None else {}
        check_secrets(author, kept, secrets_of(agent.runner_config))
        if stored is not None:
            if _is_same(agent, stored):
                agent.refresh_from_db()
                return agent
            agent.archived_at = stored.archived_at  # a stale copy revives nobody
        agent.version = stored.version + 1 if stored else 1
        agent.save()
        _keep_version(agent, stored, author, action)
    return agent


def _keep_version(agent: Agent, stored: Agent | None, author: str, action: str) -> None:
    content = content_of(agent)
    AgentVersion.objects.create(
        agent=agent, number=agent.version, data=content, author=author[:200]
    )
    before, after = changes(content_of(stored) if stored else {}, content)
    done = action or ("changed" if stored else "created")
    record_act(author, done, agent, before=before, after=after)


def check_config(agent: Agent) -> dict[str, Any]:
    """Return the configuration as `save_agent` would store it.

    Raises ValidationError keyed by the names of the runner's settings, or by
    `runner_id` when the agent may not use that runner.
    """
    stored = Agent.objects.filter(pk=agent.pk).first() if agent.pk else None
    return _prepare_config(agent, stored)


def restore_version(agent: Agent, number: int, *, author: str) -> Agent:
    """Save an agent as it was in a version; its secrets stay as they are now.

    Raises AgentVersion.DoesNotExist, and ValidationError when that content is no
    longer valid or the agent is archived.
    """
    with transaction.atomic():
        version = AgentVersion.objects.get(agent=agent, number=number)
        restored = Agent.objects.get(pk=agent.pk)
        if restored.archived_at is not None:
            raise ValidationError(_("The agent is archived: restore the agent first."))
        for name, value in whole_content(version).items():
            setattr(restored, name, value)
        return save_agent(restored, author=author, action=f"restored v{number}")


def clone_agent(agent: Agent, *, author: str, slug: str = "", name: str = "") -> Agent:
    """Save a copy of an agent, with its secrets and without its bindings.

    Without a slug the copy gets the first free one of `<slug>-copy`, `<slug>-copy-2`…
    Raises ValidationError.
    """
    copy = Agent(
        workspace=agent.workspace,
        owner=agent.owner,
        slug=slug or _free_slug(agent.slug),
        name=name or agent.name,
        runner_config=agent.runner_config,
    )
    for field in CONTENT:
        if field not in {"slug", "name"}:
            setattr(copy, field, getattr(agent, field))
    return save_agent(copy, author=author, action=f"cloned from {agent.slug}")


def archive_agent(agent: Agent, *, author: str = "") -> Agent:
    """Retire an agent: it answers nothing any more, its runs stay. Idempotent."""
    with transaction.atomic():
        stored = _lock(agent)
        if stored is not None and stored.archived_at is None:
            stored.archived_at = datetime.now(UTC)
            stored.enabled = False
            stored.save(update_fields=["archived_at", "enabled", "updated_at"])
            record_act(author, "archived", stored)
    agent.refresh_from_db()
    return agent


def unarchive_agent(agent: Agent, *, author: str = "") -> Agent:
    """Bring an archived agent back as its latest version says. Idempotent.

    Raises ValidationError when one of its bindings would now tie with another's.
    """
    with transaction.atomic():
        lock_places(agent.workspace_id)  # its bindings are compared with others
        stored = _lock(agent)
        if stored is not None and stored.archived_at is not None:
            latest = stored.versions.filter(number=stored.version).first()
            stored.archived_at = None
            stored.enabled = latest is None or latest.data["enabled"]
            stored.save(update_fields=["archived_at", "enabled", "updated_at"])
            for binding in stored.bindings.filter(enabled=True):
                check_binding(binding)
            record_act(author, "unarchived", stored)
    agent.refresh_from_db()
    return agent


def is_runner_known(agent: Agent) -> bool:
    """Whether a plugin has offered the agent's runner to its workspace."""
    return RunnerDescriptor.objects.filter(
        Q(workspace=None) | Q(workspace=agent.workspace_id), runner_id=agent.runner_id
    ).exists()


def is_used(agent: Agent) -> bool:
    """Whether records name the agent, so that it can be archived but not deleted."""
    return any(
        relation.related_model._base_manager.filter(
            **{relation.field.name: agent}
        ).exists()
        for relation in Agent._meta.related_objects
        if relation.on_delete is PROTECT
    )


def remove_agent(agent: Agent, *, author: str) -> bool:
    """Delete an agent that was never used, archive any other; True when deleted."""
    if is_used(agent):  # `delete` would load every run to say so
        archive_agent(agent, author=author)
        return False
    try:
        with transaction.atomic():
            record_act(author, "deleted", agent, before=content_of(agent))
            # A deleted instance loses its key; the caller's may still be archived.
            Agent.objects.filter(pk=agent.pk).delete()
    except ProtectedError:
        archive_agent(agent, author=author)
        return False
    return True


def content_of(agent: Agent) -> dict[str, Any]:
    """Return what versions and the audit log keep of an agent, secrets masked."""
    content = {name: getattr(agent, name) for name in CONTENT}
    content["session_scope"] = str(agent.session_scope)
    content["multitask_strategy"] = str(agent.multitask_strategy)
    content["runner_config"] = mask_config(agent.runner_config)
    return content


def whole_content(version: AgentVersion) -> dict[str, Any]:
    """Return a version's content; what came later than it is as new agents have it."""
    fresh = Agent()
    defaults = {name: getattr(fresh, name) for name in (*CONTENT, "runner_config")}
    return {name: version.data.get(name, value) for name, value in defaults.items()}


def _is_same(agent: Agent, stored: Agent) -> bool:
    return (
        (agent.workspace_id, agent.owner_id) == (stored.workspace_id, stored.owner_id)
        and _comparable(agent) == _comparable(stored)
        and _same_config(agent.runner_config, stored.runner_config)
    )


def _comparable(agent: Agent) -> dict[str, Any]:
    """Return the content with the defaults of policies: `{}` is as good as them."""
    content = content_of(agent)
    for name, policy in POLICIES.items():
        with suppress(PolicyError):  # stored before a policy became stricter
            content[name] = policy.model_validate(content[name]).model_dump()
    return content


def _same_config(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    try:
        return one == two or reveal_config(one) == reveal_config(two)
    except SecretUnreadableError:
        return False


def _free_slug(slug: str) -> str:
    """Return a slug that nobody has; of two calls at once one save is refused."""
    stem = f"{slug[:38]}-copy"  # leaves room for a number in 50 characters
    taken = set(
        Agent.objects.filter(slug__startswith=stem).values_list("slug", flat=True)
    )
    names = chain([stem], (f"{stem}-{number}" for number in count(2)))
    return next(name for name in names if name not in taken)


def _lock(agent: Agent) -> Agent | None:
    rows = lock_rows(Agent.objects.filter(pk=agent.pk)) if agent.pk else []
    return rows[0] if rows else None


def _checked_config(
    agent: Agent, stored: Agent | None, *, secrets_later: bool
) -> dict[str, Any]:
    try:
        return _prepare_config(agent, stored, secrets_later=secrets_later)
    except ValidationError as error:
        problems = error.message_dict
        runner = problems.pop("runner_id", [])
        named = [
            f"{name}: {message}"
            for name, messages in problems.items()
            for message in messages
        ]
        fields = {"runner_id": runner, "runner_config": named}
        raise ValidationError({k: v for k, v in fields.items() if v}) from None


def _prepare_config(
    agent: Agent, stored: Agent | None, *, secrets_later: bool = False
) -> dict[str, Any]:
    if not isinstance(agent.runner_config, Mapping):
        raise ValidationError({"__all__": _("Enter a JSON object.")})
    config, previous = _with_own_secrets(agent, stored)
    if secrets_later:
        sealed = {name: value for name, value in previous.items() if is_sealed(value)}
        config = {**sealed, **config}
    runner = RunnerDescriptor.objects.filter(runner_id=agent.runner_id).first()
    if runner is not None and runner.workspace_id not in (None, agent.workspace_id):
        message = _("This runner belongs to another workspace.")
        raise ValidationError({"runner_id": message})
    names = None
    if runner is not None and not runner.last_error:
        schema = runner.config_schema
        if secrets_later:
            schema = without_required_secrets(schema)
        config = validate_config(schema, config)
        names = {i.name for i in read_schema(runner.config_schema) if i.is_secret}
        _check_models(agent, runner, config, previous)
    _check_timeout(config)
    return seal_config(config, names)


def _with_own_secrets(
    agent: Agent, stored: Agent | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the wanted configuration and the stored one that it may build on.

    A secret belongs to its runner: another plugin never inherits it.
    """
    if stored is None:
        return keep_masked(agent.runner_config, {}), {}
    if stored.runner_id == agent.runner_id:
        return keep_masked(agent.runner_config, stored.runner_config), (
            stored.runner_config
        )
    inherited = [value for value in stored.runner_config.values() if is_sealed(value)]
    config = keep_masked(agent.runner_config, {})
    return {k: value for k, value in config.items() if value not in inherited}, {}


def _check_timeout(config: Mapping[str, Any]) -> None:
    """Refuse a deadline that the host would not keep (LB-34, C-07)."""
    timeout: Any = config.get("timeout")
    maximum = limits().run_seconds_maximum
    if isinstance(timeout, int | float) and timeout > maximum:
        message = _("A run takes at most %(maximum)d seconds.") % {"maximum": maximum}
        raise ValidationError({"timeout": message})


def _check_models(
    agent: Agent,
    runner: RunnerDescriptor,
    config: Mapping[str, Any],
    previous: Mapping[str, Any],
) -> None:
    """Refuse models of other workspaces; stored references may outlive their model."""
    schema = runner.config_schema
    named = selected_models(schema, config) - selected_models(schema, previous)
    mine = Model.objects.filter(provider__workspace_id=agent.workspace_id)
    known = {str(public_id) for public_id in mine.values_list("public_id", flat=True)}
    if named - known:
        fields = [
            item.name
            for item in read_schema(schema)
            if selected_models([{"name": item.name, "type": item.type}], config) - known
        ]
        message = _("Choose a model of the agent's workspace.")
        raise ValidationError(dict.fromkeys(fields, message))


def _check_event_types(agent: Agent) -> None:
    types = agent.event_types
    if not isinstance(types, list) or not all(
        isinstance(name, str) and name for name in types
    ):
        message = _("Enter a list of event types.")
        raise ValidationError({"event_types": message})


__all__ = [
    "archive_agent",
    "check_config",
    "clone_agent",
    "content_of",
    "delete_binding",
    "is_runner_known",
    "is_used",
    "mask_config",
    "remove_agent",
    "restore_version",
    "reveal_config",
    "save_agent",
    "save_binding",
    "unarchive_agent",
    "whole_content",
]
