"""Asks a plugin for its icon and readme (`wire.md` §3) once it is registered."""

import logging

from django.db import Error as DatabaseFailure

from agents.registry.connections import Registered, workspace_id_of
from agents.registry.presentation import store_presentation
from langbot.lib.db import DatabaseExecutor
from runners.gateway.session import PluginSession, SocketClosedError
from runners.protocol.errors import ProtocolError
from runners.protocol.frames import Action

logger = logging.getLogger(__name__)


async def ask_presentation(
    session: PluginSession, database: DatabaseExecutor, registered: Registered
) -> None:
    """Keep what the plugin shows of itself; a plugin that does not answer has none."""
    with session.files.keeping() as files:
        icon = await _file(session, Action.GET_PLUGIN_ICON, {}, "plugin_icon_file_key")
        readme = await _file(
            session,
            Action.GET_PLUGIN_README,
            {"language": "en"},
            "plugin_readme_file_key",
        )
        found = (files.get(icon, b""), files.get(readme, b""))
    try:
        workspace = workspace_id_of(registered)
        await database(store_presentation, registered.plugin, workspace, *found)
    except DatabaseFailure as error:
        logger.warning("icon of %s is not kept: %s", registered.plugin, error)


async def _file(
    session: PluginSession, action: str, data: dict[str, str], key: str
) -> str:
    """Return the key of the file that the plugin has sent, "" for none."""
    try:
        answer = await session.request(action, data)
    except (ProtocolError, SocketClosedError, TimeoutError):
        return ""
    return str(answer.data.get(key) or "")
