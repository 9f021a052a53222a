"""What a connected plugin may ask without a run (`wire.md` §6, "Not run-scoped").

Answered is what the plugin's token stands for: its one workspace, in names and ids,
never a setting or a secret. A token for all workspaces stands for none of them here;
its plugins ask within a run, which has one. What only a run is granted is refused.
"""

from typing import Any

from django.db.models import Q

from agents.choices import ModelKind
from agents.models import Plugin
from agents.registry.connections import workspace_id_of
from agents.resources.catalogue import visible_models
from langbot.lib.ids import read_uuid
from runners.bots import BotFacts, bots_of_workspace
from runners.host_api.calls import CallData, ConnectionCall, ConnectionHandler
from runners.protocol.errors import ErrorCode, ProtocolError

_MOST = 1000  # entries of one answer


class BotRequest(CallData):
    bot_uuid: str


async def get_bots(call: ConnectionCall) -> dict[str, Any]:
    """Return the ids of the workspace's enabled bots."""
    bots = await call.database(bots_of_workspace, workspace_of(call))
    return {"bots": [str(bot.public_id) for bot in bots[:_MOST] if bot.is_enabled]}


async def get_bot_info(call: ConnectionCall) -> dict[str, Any]:
    """Return a bot's name and platform; never its configuration."""
    workspace, wanted = workspace_of(call), call.read(BotRequest).bot_uuid
    bot = await call.database(find_bot_in, workspace, wanted)
    return {
        "bot": {
            "uuid": str(bot.public_id),
            "name": bot.name,
            "adapter": bot.adapter,
            "enable": bot.is_enabled,
        }
    }


async def get_llm_models(call: ConnectionCall) -> dict[str, Any]:
    """Return the ids of the workspace's language models; calling one takes a run."""
    models = await call.database(visible_models, workspace_of(call))
    names = [one["model_id"] for one in models if one["model_type"] == ModelKind.LLM]
    return {"llm_models": names[:_MOST]}


async def list_plugins_manifest(call: ConnectionCall) -> dict[str, Any]:
    """Return author, name and version of the plugins that serve the workspace."""
    return {"plugins": await call.database(_manifests, workspace_of(call))}


async def list_commands(call: ConnectionCall) -> dict[str, Any]:
    """Return no command: this host has none."""
    workspace_of(call)
    return {"commands": []}


async def get_config_file(call: ConnectionCall) -> dict[str, Any]:
    """Raise not_found: configurations of this host hold no files."""
    message = "there is no such file"
    raise ProtocolError(ErrorCode.NOT_FOUND, message)


def _within_a_run(what: str) -> ConnectionHandler:
    """Return a handler that says where this is granted."""

    async def refuse(call: ConnectionCall) -> dict[str, Any]:
        message = f"{what} are granted to runs: call with a run_id"
        raise ProtocolError(ErrorCode.PERMISSION_DENIED, message)

    return refuse


refuse_tools = _within_a_run("tools")
refuse_models = _within_a_run("models")
refuse_storage = _within_a_run("storage and knowledge bases")
refuse_platforms = _within_a_run("actions of bots")


def workspace_of(call: ConnectionCall) -> int:
    """Return the workspace of the caller's token; raises permission_denied."""
    workspace = workspace_id_of(call.connection)
    if workspace is None:
        message = "the token serves every workspace: ask within a run"
        raise ProtocolError(ErrorCode.PERMISSION_DENIED, message)
    return workspace


def find_bot_in(workspace_id: int, public_id: str) -> BotFacts:
    """Return a bot of the workspace; those of others are not found either."""
    wanted = read_uuid(public_id)
    for bot in bots_of_workspace(workspace_id):
        if bot.public_id == wanted:
            return bot
    raise ProtocolError(ErrorCode.NOT_FOUND, "there is no such bot")


def _manifests(workspace_id: int) -> list[dict[str, Any]]:
    serving = Q(workspace_id=workspace_id) | Q(workspace=None)
    plugins = Plugin.objects.filter(serving, archived_at=None, enabled=True)
    return [_manifest(plugin) for plugin in plugins.order_by("name")[:_MOST]]


def _manifest(plugin: Plugin) -> dict[str, Any]:
    author, _, name = plugin.name.partition("/")
    metadata = {"author": author, "name": name, "version": plugin.version}
    return {"apiVersion": "v1", "kind": "Plugin", "metadata": metadata}
