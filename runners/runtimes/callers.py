"""Who may use the control plane: plugins whose token carries the right, now."""

from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet

from agents.models import PluginToken
from langbot.lib.ids import read_uuid
from runners.models import AgentRun, RemoteRuntime
from runners.protocol.errors import ErrorCode, ProtocolError

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Caller:
    """A plugin connection with the control plane of a workspace, or of all (None)."""

    connection_id: UUID
    plugin: str
    token_id: int
    workspace_id: int | None

    def within(self, rows: QuerySet[Row]) -> QuerySet[Row]:
        """Keep the rows of the caller's workspace; a token for all sees all."""
        if self.workspace_id is None:
            return rows
        return rows.filter(workspace=self.workspace_id)

    def of_conversation(
        self, rows: QuerySet[AgentRun], conversation_id: str | None
    ) -> QuerySet[AgentRun]:
        """Keep the runs of a conversation, if one is named."""
        if not conversation_id:
            return rows
        wanted = read_uuid(conversation_id)
        if wanted is None:
            return rows.none()
        return rows.filter(conversation__public_id=wanted)

    def run(self, public_id: str) -> AgentRun:
        """Return a run with the columns that tell where it stands.

        Raises not_found for runs of other workspaces as for those that do not exist.
        """
        wanted = read_uuid(public_id)
        rows: QuerySet[AgentRun] = AgentRun.objects.none()
        if wanted is not None:
            rows = self.within(AgentRun.objects.filter(public_id=wanted))
        run = rows.only("public_id", "conversation_id", "status").first()
        if run is None:
            raise ProtocolError(ErrorCode.NOT_FOUND, "there is no such run")
        return run

    def runtime(self, runtime_id: str) -> RemoteRuntime:
        """Return a registered runtime of exactly the caller's scope.

        Raises not_found, which tells a runtime to register again.
        """
        rows = RemoteRuntime.objects.filter(workspace=self.workspace_id)
        runtime = rows.filter(runtime_id=runtime_id).first()
        if runtime is None:
            message = f"the runtime {runtime_id[:64]} is not registered"
            raise ProtocolError(ErrorCode.NOT_FOUND, message)
        return runtime


def caller_of(connection_id: UUID, plugin: str) -> Caller:
    """Return the caller; raises permission_denied without the right.

    The token is asked on every call: taking the right away works at once.
    """
    tokens = PluginToken.objects.good().filter(connections__public_id=connection_id)
    token = tokens.filter(control_plane=True).only("workspace_id").first()
    if token is None:
        message = "the plugin's token does not carry the control plane"
        raise ProtocolError(ErrorCode.PERMISSION_DENIED, message)
    return Caller(connection_id, plugin, token.pk, token.workspace_id)
