"""HTTP/1.1 over asyncio's streams, as much as the load needs: it sees when each piece of an answer
came, and can leave in the middle of one."""

import asyncio
import dataclasses
import json
import time

from serving import KEY

PATIENCE_S = 120.0


@dataclasses.dataclass
class Reply:
    status: int
    headers: dict
    body: bytes
    sent_at: float
    arrivals: list  # (seconds of the clock, bytes) of each piece of the body

    def answers(self):
        """Its JSON: of a stream, each event's."""
        if "event-stream" not in self.headers.get("content-type", ""):
            return [json.loads(self.body)]
        events = self.body.decode().split("\n\n")
        return [json.loads(event[6:]) for event in events if event.startswith("data: {")]


class Connection:
    """One connection to a server, opened by the first request."""

    def __init__(self, port):
        self.port = port
        self.reader = self.writer = None

    async def open(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    async def send(self, path, body):
        if self.writer is None:
            await self.open()
        data = json.dumps(body).encode()
        head = (f"POST {path} HTTP/1.1\r\nHost: vexact\r\nAuthorization: Bearer {KEY}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n")
        self.writer.write(head.encode() + data)
        await self.writer.drain()

    async def receive_head(self, sent_at):
        """The next reply, without a body yet; IncompleteReadError if the server has closed."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return Reply(int(lines[0].split()[1]), headers, b"", sent_at, [])

    async def receive_body(self, reply):
        while True:
            if "content-length" in reply.headers:
                piece = await self.reader.readexactly(int(reply.headers["content-length"]))
            else:
                size = int(await self.reader.readuntil(b"\r\n"), 16)
                piece = (await self.reader.readexactly(size + 2))[:-2]
            reply.arrivals.append((time.monotonic(), piece))
            if "content-length" in reply.headers or not piece:
                reply.body = b"".join(piece for _, piece in reply.arrivals)
                return reply

    async def post(self, path, body):
        sent_at = time.monotonic()
        await self.send(path, body)
        reply = await asyncio.wait_for(self.receive_head(sent_at), PATIENCE_S)
        return await asyncio.wait_for(self.receive_body(reply), PATIENCE_S)

    def kill(self):
        """Closes with a reset, as a killed client's system does."""
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = None
