"""A proxy between a client and the store that damages the answers selected by a test."""

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

Damage = Callable[[bytes], bytes | int | None]  # of a listing: other bytes, a status, or a reset


class Proxy:
    """Counts requests; each answer uses up one of `damages` or `cuts`."""

    def __init__(self, backend: str) -> None:
        self.listings: list[dict[str, list[str]]] = []  # their queries
        self.ranges: list[str | None] = []  # of each object that was read
        self.damages: list[Damage] = []
        self.cuts: list[int] = []  # bytes of an object after which the connection breaks
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                proxy.answer(self)

            do_HEAD = do_GET

            def log_message(self, *args: object) -> None:
                pass

        self.backend = urlsplit(backend).netloc
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        backend = http.client.HTTPConnection(self.backend)
        backend.request(request.command, request.path, headers=dict(request.headers))
        reply = backend.getresponse()
        status, body = reply.status, reply.read()
        length = reply.headers.get("Content-Length", str(len(body)))
        query = parse_qs(urlsplit(request.path).query)
        if "list-type" in query:
            self.listings.append(query)
            damaged = self.damages.pop(0)(body) if self.damages else body
            if damaged is None:
                request.connection.close()
                return
            status, body = (status, damaged) if isinstance(damaged, bytes) else (damaged, b"")
            length = str(len(body))
        elif request.command == "GET":
            self.ranges.append(request.headers.get("Range"))
            body = body[: self.cuts.pop(0)] if self.cuts else body
        request.send_response(status)
        for name in ("ETag", "Last-Modified", "Content-Range", "Content-Type"):
            if name in reply.headers:
                request.send_header(name, reply.headers[name])
        request.send_header("Content-Length", length)
        request.end_headers()
        request.wfile.write(body)
        request.close_connection = len(body) < int(length)
