"""A proxy in front of an S3 server that answers some requests as a troubled network would.

It runs on loopback in a thread of the test, which may change `faults` at any moment. The same seed
draws the same faults; which request meets which depends on the order of their arrival.
"""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

HEAD_LIMIT = 2**20  # bytes of a request's head
END_OF_HEAD = b"\r\n\r\n"
ABORT_WITH_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, zero seconds
ERROR_CODES = {"500": "InternalError", "503": "SlowDown"}

# truncated: half of the body under the length of the whole. lost_reply: the server obeys, and the
# client never gets a reply. flip: one byte of the body. hang: no answer.
KINDS = ("500", "503", "reset", "slow", "truncated", "flip", "lost_reply", "hang")


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Which requests go wrong, how, and how often."""

    probability: float = 0.0  # for a request of `methods`, in [0, 1]
    kinds: tuple[str, ...] = ()  # drawn with equal chances
    methods: tuple[str, ...] = ("GET", "HEAD", "PUT", "POST", "DELETE")
    slow_s: float = 1.0
    hang_s: float = 3600.0

    def __post_init__(self) -> None:
        if unknown := set(self.kinds) - set(KINDS):
            raise ValueError(f"expected kinds of {KINDS}, got {sorted(unknown)}")
        if self.probability > 0 and not self.kinds:
            raise ValueError("expected kinds to draw from, got none")


@dataclass(frozen=True, slots=True)
class Message:
    """A request or a reply."""

    first_line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def method(self) -> str:
        """Of a request."""
        return self.first_line.partition(" ")[0]

    def without(self, *names: str) -> "Message":
        """The same with fewer headers; `names` are in lower case."""
        return replace(self, headers=tuple(h for h in self.headers if h[0].lower() not in names))

    def with_header(self, name: str, value: str) -> "Message":
        """The same with one header more."""
        return replace(self, headers=(*self.headers, (name, value)))

    def header(self, name: str) -> str:
        """The value of one header, "" without; `name` is in lower case."""
        return next((v for k, v in self.headers if k.lower() == name), "")

    def to_bytes(self) -> bytes:
        """As it goes over the wire."""
        lines = [self.first_line, *(f"{k}: {v}" for k, v in self.headers)]
        return "\r\n".join(lines).encode("latin-1") + END_OF_HEAD + self.body


class FaultProxy:
    """Passes requests on to `backend`, except where `faults` strikes."""

    def __init__(self, backend: str, *, seed: int = 0) -> None:
        self.faults = Faults()
        self.counts: Counter[str] = Counter()  # injected faults by kind, and "requests"
        self.address = ""
        self._backend = urlsplit(backend)
        self._random = random.Random(seed)

    async def serve(self, is_ready: threading.Event, is_over: asyncio.Event) -> None:
        """Answer until `is_over`; the address is known once `is_ready`."""
        server = await asyncio.start_server(self._serve_client, "127.0.0.1", 0, limit=HEAD_LIMIT)
        self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        is_ready.set()
        await is_over.wait()
        server.close()

    async def _serve_client(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one connection's requests, until it or a fault ends it."""
        ends = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.suppress(*ends):
            while True:
                request = await _read_request(reader, writer)
                self.counts["requests"] += 1
                if not await self._answer(request, writer, self._draw(request)):
                    break
        writer.close()

    def _draw(self, request: Message) -> str:
        """The kind of fault that this request meets, or nothing."""
        faults = self.faults
        if request.method in faults.methods and self._random.random() < faults.probability:
            return self._random.choice(faults.kinds)
        return ""

    async def _answer(self, request: Message, writer: asyncio.StreamWriter, kind: str) -> bool:
        """Send what the client gets; False if the connection is of no more use."""
        faults = self.faults
        if kind in ERROR_CODES:
            reply = _error_reply(kind)
        elif kind == "reset":
            return self._reset(writer, kind)
        elif kind == "hang":
            self.counts[kind] += 1
            await asyncio.sleep(faults.hang_s)
            return False
        else:
            if kind == "slow":
                self.counts[kind] += 1
                await asyncio.sleep(faults.slow_s)
            reply = await self._ask_backend(request)
        if kind == "lost_reply":
            return self._reset(writer, kind)
        return await self._send(reply, writer, kind)

    async def _send(self, reply: Message, writer: asyncio.StreamWriter, kind: str) -> bool:
        """Send a reply, whole or not; False if the connection is of no more use."""
        data = reply.to_bytes()
        if kind in ERROR_CODES:
            self.counts[kind] += 1
        elif reply.body and kind in ("truncated", "flip"):
            self.counts[kind] += 1
            middle = len(data) - len(reply.body) // 2 - 1
            if kind == "truncated":
                writer.write(data[:middle])
                await writer.drain()
                return False
            data = data[:middle] + bytes([data[middle] ^ 0x01]) + data[middle + 1 :]
        writer.write(data)
        await writer.drain()
        return True

    def _reset(self, writer: asyncio.StreamWriter, kind: str) -> bool:
        self.counts[kind] += 1
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT_WITH_RESET)
        writer.transport.abort()
        return False

    async def _ask_backend(self, request: Message) -> Message:
        """The server's reply, under a length instead of chunks."""
        reader, writer = await asyncio.open_connection(
            self._backend.hostname, self._backend.port, limit=HEAD_LIMIT
        )
        asked = request.without("connection", "expect").with_header("Connection", "close")
        writer.write(asked.to_bytes())
        reply = _parse_head(await reader.readuntil(END_OF_HEAD))
        body = await reader.read()  # to the end, as the connection closes
        writer.close()
        if request.method == "HEAD":  # announces the length of what it does not send
            return reply.without("connection")
        if reply.header("transfer-encoding").lower() == "chunked":
            body = _join_chunks(body)
        bare = reply.without("connection", "content-length", "transfer-encoding")
        return replace(bare.with_header("Content-Length", str(len(body))), body=body)


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Message:
    head = _parse_head(await reader.readuntil(END_OF_HEAD))
    if head.header("expect").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue" + END_OF_HEAD)
    body = await reader.readexactly(int(head.header("content-length") or 0))
    return replace(head, body=body)


def _parse_head(head: bytes) -> Message:
    first_line, *lines = head[: -len(END_OF_HEAD)].decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Message(first_line, tuple((k, v.strip()) for k, _, v in pairs), b"")


def _join_chunks(data: bytes) -> bytes:
    """The body that came in chunks: each its size in hexadecimal, a line's end, bytes, an end."""
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        body += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]
    return body


def _error_reply(status: str) -> Message:
    body = f"<Error><Code>{ERROR_CODES[status]}</Code></Error>".encode()
    headers = (("Content-Type", "application/xml"), ("Content-Length", str(len(body))))
    return Message(f"HTTP/1.1 {status} Injected", headers, body)


@contextlib.contextmanager
def start_proxy(backend: str, *, seed: int = 0) -> Iterator[FaultProxy]:
    """A proxy that answers as long as the context lasts."""
    proxy = FaultProxy(backend, seed=seed)
    is_ready = threading.Event()
    loop = asyncio.new_event_loop()
    is_over = asyncio.Event()

    def serve() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(proxy.serve(is_ready, is_over))

    thread = threading.Thread(target=serve, name="fault proxy", daemon=True)
    thread.start()
    is_ready.wait()
    yield proxy
    loop.call_soon_threadsafe(is_over.set)
    thread.join()
