"""A server on loopback that answers as told: for what a real one does only when something goes wrong."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """Bytes of the body after which the connection breaks, although more were announced."""


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Script = Callable[[Asked], Answer]


@dataclass
class ScriptedServer:
    url: str
    asked: list[Asked]


@contextmanager
def scripted_server(answer: Script) -> Iterator[ScriptedServer]:
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            asked.append(Asked(self.command, self.path, dict(self.headers), self.rfile.read(length)))
            told = answer(asked[-1])
            self.send_response(told.status)
            for name, value in told.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(told.body)))
            self.end_headers()
            self.wfile.write(told.body[: told.cut_after])
            self.close_connection = told.cut_after is not None

        do_POST = do_DELETE = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Tests say what they need to say."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield ScriptedServer(f"http://127.0.0.1:{server.server_address[1]}", asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
