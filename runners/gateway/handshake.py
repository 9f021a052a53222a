"""Registration of a plugin, from its first request to its runners being callable."""

import logging
from collections.abc import Mapping
from typing import Any

from agents.models import PluginToken
from agents.registry import connections
from agents.registry.connections import Origin, Registered, RegistrationRefusedError
from agents.registry.tokens import verify_plugin_token
from langbot.lib.db import DatabaseExecutor
from runners.gateway.session import PluginSession, SocketClosedError
from runners.protocol.errors import ProtocolError
from runners.protocol.frames import Action, Request, build_error, build_response
from runners.protocol.manifest import (
    AGENT_RUNNER_KIND,
    ManifestError,
    PluginManifest,
    parse_container,
)
from runners.protocol.results import is_finite

logger = logging.getLogger(__name__)

_SETTINGS = {"enabled": True, "priority": 0, "plugin_config": {}}


class Handshake:
    """Registers one session; `token` is the header's key, empty when it had none."""

    def __init__(
        self, session: PluginSession, database: DatabaseExecutor, header_token: str
    ) -> None:
        self._session = session
        self._database = database
        self._header_token = header_token
        self.is_token_wrong = False

    async def run(self, request: Request, origin: Origin) -> Registered | None:
        """Answer `register_plugin`; None after a refusal, which closes the socket."""
        plain = self._header_token or str(request.data.get("plugin_debug_key") or "")
        name = "?"
        try:
            # First, at little cost: a container may be large.
            if await self._database(verify_plugin_token, plain) is None:
                self.is_token_wrong = True
                message = "the plugin token is wrong or revoked"
                raise RegistrationRefusedError(message)
            claimed = parse_container(request.data.get("plugin_container"))
            name = claimed.plugin
            token = await self._database(connections.admit_plugin, plain, name)
            # Answered before the slow part: the plugin dies after 15 s (wire 3).
            self._session.is_admitted = True
            self._session.send(build_response(request.seq_id, {}))
            return await self._discover(token, name, origin)
        except SocketClosedError:
            return None
        except (RegistrationRefusedError, ManifestError) as error:
            reason = str(error)
        except (ProtocolError, TimeoutError) as error:
            reason = f"initialisation failed: {str(error) or 'no answer within 15 s'}"
        if not self.is_token_wrong:
            record = connections.record_refusal
            await self._database(record, plain, name, origin, reason)
        logger.warning("plugin %s refused: %s", name, reason)
        refusal = ProtocolError("permission_denied", reason)
        self._session.send(build_error(request.seq_id, refusal))
        return None

    async def _discover(
        self, token: PluginToken, plugin: str, origin: Origin
    ) -> Registered:
        unusable: Mapping[str, str]
        failure = await self._initialize()
        answer = await self._session.request(Action.GET_PLUGIN_CONTAINER, {})
        if not is_finite(answer.data):
            message = "a number of the manifest is not finite"
            raise ManifestError(message)
        manifest = parse_container(answer.data)
        if manifest.plugin != plugin:
            message = f"registered as {plugin}, but is {manifest.plugin}"
            raise RegistrationRefusedError(message)
        if failure:
            unusable = {runner.id: failure for runner in manifest.runners}
        else:
            unusable = await self._probe_agent_runners(manifest)
        return await self._database(
            connections.register, token, manifest, origin, unusable
        )

    async def _initialize(self) -> str:
        try:
            await self._session.request(
                Action.INITIALIZE_PLUGIN, {"plugin_settings": _SETTINGS}
            )
        except ProtocolError as error:
            # Typically a missing dependency; the plugin stays connected (wire 3).
            return f"initialize_plugin: {error.message}"
        return ""

    async def _probe_agent_runners(self, manifest: PluginManifest) -> Mapping[str, str]:
        """Ask whether the SDK knows `run_agent`: released ones do not (wire 0.2)."""
        old = [r for r in manifest.runners if r.kind == AGENT_RUNNER_KIND]
        if not old:
            return {}
        probe: dict[str, Any] = {"runner_name": "__probe__", "context": {}}
        try:
            await self._session.request(Action.RUN_AGENT, probe)
        except ProtocolError as error:
            if "not found" in error.message and Action.RUN_AGENT in error.message:
                reason = "its SDK cannot run kind AgentRunner (no run_agent action)"
                return {runner.id: reason for runner in old}
        return {}
