"""The server's end of a WebSocket as wsproto has it, nothing of ours in it."""

import anyio
from anyio.abc import ByteStream
from wsproto import ConnectionType, WSConnection
from wsproto.events import Event


class Server:
    """The server's end: says what a test tells it, and tells what it hears."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.wsproto = WSConnection(ConnectionType.SERVER)
        self._events: list[Event] = []

    async def hears(self) -> Event | None:
        """Return the next event, None at the end."""
        while not self._events:
            try:
                data = await self.stream.receive()
            except anyio.EndOfStream:
                return None
            self.wsproto.receive_data(data)
            self._events += self.wsproto.events()
        return self._events.pop(0)

    async def says(self, *events: Event) -> None:
        await self.stream.send(b"".join(self.wsproto.send(event) for event in events))
