"""What a new installation starts with, so that a message can be sent at once.

Created once, in one transaction; what people change or delete afterwards stays so. It
sits above every app, which is why it is not in `langbot.core`.
"""

import json
import os
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.urls import NoReverseMatch, reverse
from django.utils.crypto import get_random_string
from django.utils.translation import gettext

from agents.choices import BindingScope, ProviderKind
from agents.models import Agent, AgentBinding, Model, ModelProvider
from agents.registry.models import PluginToken
from agents.registry.tokens import create_plugin_token
from agents.services import save_agent, save_binding
from langbot.core.audit import Author, record_change
from langbot.core.models import Membership, Workspace
from langbot.core.tokens import issue_api_token
from langbot.lib.conf import conf
from langbot.lib.secrets import hash_token
from platforms.models import Bot

WORKSPACE = "default"
USERNAME = "admin"
BOT = "web"
ECHO_RUNNER = "plugin:langbot/echo/default"
ASSISTANT_RUNNER = "plugin:langbot/local-agent/default"
DEFAULT_OPENAI_MODEL = "gpt-4o-mini"
RESULT_FILE = "first-run.json"
PLUGIN_KEY_FILE = "plugin.key"
PASSWORD_CHARACTERS = 20
AUTHOR = Author("first run", "command firstrun")


def urls() -> dict[str, str]:
    """Return where the admin and the web chat are."""
    base = conf().public_url.rstrip("/")
    return {
        "admin_url": base + reverse("admin:index"),
        "chat_url": base + _chat_path(),
    }


def _chat_path() -> str:
    try:
        return reverse("langbot:chat-open", args=[BOT])
    except NoReverseMatch:
        return f"/chat/{BOT}/"  # another project's URLs


def first_run() -> dict[str, str]:
    """Create the first content and return its secrets; {} when there is some already.

    The answer is also written to `first-run.json` (mode 0600) in the data folder, just
    before the commit, so that no password is ever lost.
    """
    path = conf().data_dir / RESULT_FILE
    with transaction.atomic():
        workspace, is_new = Workspace.objects.get_or_create(
            slug=WORKSPACE, defaults={"name": gettext("Default")}
        )
        if not is_new:
            return {}
        record_change(AUTHOR, workspace, {})
        answer = {**urls(), **_create_access(workspace)}
        _create_agents(workspace)
        write_private(path, json.dumps(answer, indent=2) + "\n")
    return answer


def ensure_plugin_key() -> Path:
    """Return the file with the token of our own plugin process; made when missing.

    It belongs to no workspace: the runners that ship serve all of them.
    """
    path = conf().data_dir / PLUGIN_KEY_FILE
    if not _is_valid(path):
        row, token = create_plugin_token("runners that ship", plugins=["*"])
        record_change(AUTHOR, row, {})
        write_private(path, token)
    return path


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _is_valid(path: Path) -> bool:
    if not path.exists():
        return False
    token_hash = hash_token(path.read_text(encoding="utf-8").strip())
    known = PluginToken.objects.filter(token_hash=token_hash, revoked_at=None)
    return known.exists()


def _create_access(workspace: Workspace) -> dict[str, str]:
    users = get_user_model()._default_manager
    name_field = get_user_model().USERNAME_FIELD
    user: Any = users.filter(**{name_field: USERNAME}).first()
    password = ""
    if user is None:
        password = get_random_string(PASSWORD_CHARACTERS)
        user = users.create_superuser(**{name_field: USERNAME}, password=password)
        record_change(AUTHOR, user, {})
    member = Membership.objects.create(
        workspace=workspace, user=user, role=Membership.Role.ADMIN
    )
    record_change(AUTHOR, member, {})
    _, api_token = issue_api_token(user, workspace, AUTHOR, author=AUTHOR)
    row, plugin_token = create_plugin_token(AUTHOR, workspace=workspace, plugins=["*"])
    record_change(AUTHOR, row, {})
    return {
        "username": USERNAME,
        "password": password,
        "api_token": api_token,
        "plugin_token": plugin_token,
    }


def _create_agents(workspace: Workspace) -> None:
    echo = Agent(
        workspace=workspace,
        slug="echo",
        name=gettext("Echo"),
        description=gettext("Repeats what it is told. Shows that everything works."),
        runner_id=ECHO_RUNNER,
    )
    save_agent(echo, author=AUTHOR)
    assistant = Agent(
        workspace=workspace,
        slug="assistant",
        name=gettext("Assistant"),
        description=gettext("Answers with a language model."),
        runner_id=ASSISTANT_RUNNER,
        runner_config={
            "model": {"primary": str(_create_model(workspace).public_id)},
        },
    )
    save_agent(assistant, author=AUTHOR)
    _create_chat(echo)


def _create_chat(agent: Agent) -> None:
    """Make the web chat that an agent answers."""
    bot = Bot.objects.create(
        workspace=agent.workspace, slug=BOT, name=gettext("Web chat"), adapter="web"
    )
    record_change(AUTHOR, bot, {})
    binding = AgentBinding(
        agent=agent,
        scope=BindingScope.BOT,
        scope_ref=bot.slug,
        event_pattern="message.received",
    )
    save_binding(binding, author=AUTHOR)


def _create_model(workspace: Workspace) -> Model:
    given = conf().first_model
    if given.base_url or given.api_key:
        provider = ModelProvider.objects.create(
            workspace=workspace,
            name="OpenAI",
            kind=ProviderKind.OPENAI,
            base_url=given.base_url,
            api_key=given.api_key,
        )
        name = given.model or DEFAULT_OPENAI_MODEL
    else:
        provider = ModelProvider.objects.create(
            workspace=workspace, name=gettext("Offline demo"), kind=ProviderKind.DEMO
        )
        name = "demo"
    record_change(AUTHOR, provider, {})
    model = Model.objects.create(provider=provider, name=name)
    record_change(AUTHOR, model, {})
    return model
