"""What plugins can do and ask for, in words."""

from typing import Any

from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from agents.models import RunnerDescriptor

CAPABILITIES: dict[str, Any] = {
    "streaming": gettext_lazy("answers piece by piece"),
    "tool_calling": gettext_lazy("calls tools"),
    "knowledge_retrieval": gettext_lazy("looks things up in knowledge bases"),
    "multimodal_input": gettext_lazy("takes pictures and files"),
    "skill_authoring": gettext_lazy("writes skills"),
    "interrupt": gettext_lazy("can be interrupted"),
    "steering": gettext_lazy("takes further messages while it works"),
    "interactions": gettext_lazy("asks people questions by forms"),
    "resume": gettext_lazy("goes on after a person has decided late"),
}
# "resource.operation" of a manifest; what is missing here is shown as it is written.
PERMISSIONS: dict[str, Any] = {
    "models.invoke": gettext_lazy("ask models"),
    "models.stream": gettext_lazy("ask models, answers as a stream"),
    "models.rerank": gettext_lazy("have documents ranked by models"),
    "models.count_tokens": gettext_lazy("count tokens"),
    "tools.detail": gettext_lazy("read what tools do"),
    "tools.call": gettext_lazy("call tools"),
    "knowledge_bases.list": gettext_lazy("see which knowledge bases there are"),
    "knowledge_bases.retrieve": gettext_lazy("search knowledge bases"),
    "history.page": gettext_lazy("read the conversation"),
    "history.search": gettext_lazy("search the conversation"),
    "events.get": gettext_lazy("read the event of the run"),
    "events.page": gettext_lazy("read earlier events of the conversation"),
    "storage.plugin": gettext_lazy("keep values of its own"),
    "storage.workspace": gettext_lazy("keep values that other plugins share"),
    "interactions.request": gettext_lazy("ask people questions"),
    "artifacts.metadata": gettext_lazy("see which files there are"),
    "artifacts.read": gettext_lazy("read files"),
    "files.config": gettext_lazy("read files of its settings"),
    "files.knowledge": gettext_lazy("read files of knowledge bases"),
}

# Why a connection ended, as the gateway records it.
REASONS: dict[str, Any] = {
    "the web process ended": gettext_lazy("the web process ended"),
    "the plugin token was revoked": gettext_lazy("the plugin token was revoked"),
    "the registration failed": gettext_lazy("the registration failed"),
    "the plugin sends garbage": gettext_lazy("the plugin sends garbage"),
    "it did not register within 15 s": gettext_lazy("it did not register within 15 s"),
    "the plugin token is wrong or revoked": gettext_lazy(
        "the plugin token is wrong or revoked"
    ),
}
USAGES: dict[str, Any] = {"agent": gettext_lazy("agents")}


def reason_words(reason: str) -> str:
    """Return why a connection ended; a line that is unknown stays as it is."""
    return "\n".join(str(REASONS.get(line, line)) for line in reason.splitlines())


def operation_words(resource: str, operation: str) -> str:
    """Return what one permission lets a runner do."""
    return str(PERMISSIONS.get(f"{resource}.{operation}", operation))


def capabilities_of(runner: RunnerDescriptor) -> str:
    """Return what a runner can do, as one sentence."""
    able = [name for name, is_able in runner.capabilities.items() if is_able]
    words = [str(CAPABILITIES.get(name, name.replace("_", " "))) for name in able]
    return capfirst(", ".join(words)) or _("Answers with text")


def permissions_of(runner: RunnerDescriptor) -> str:
    """Return what a runner asks to do with the host, as one sentence."""
    asked = [
        f"{resource}.{operation}"
        for resource, operations in runner.permissions.items()
        for operation in operations
    ]
    words = [str(PERMISSIONS.get(name, name)) for name in asked]
    return capfirst(", ".join(words)) or _("Asks for nothing")
