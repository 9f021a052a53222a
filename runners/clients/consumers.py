"""The client gateway's socket, `/ws/runs/<run id>/`."""

from channels.generic.websocket import AsyncWebsocketConsumer

from runners.clients.session import RunSession


class RunConsumer(AsyncWebsocketConsumer):
    """Hands the frames of one socket to its session."""

    session: RunSession

    async def connect(self) -> None:
        run_id = self.scope["url_route"]["kwargs"]["run_id"]
        await self.accept()
        self.session = RunSession(run_id, self._transmit, self._end)
        self.session.begin()

    async def disconnect(self, code: int) -> None:
        await self.session.end()

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None
    ) -> None:
        await self.session.receive(text_data)

    async def _transmit(self, text: str) -> None:
        await self.send(text_data=text)

    async def _end(self, code: int) -> None:
        await self.close(code)
