"""Clients cheap enough to measure a server with: HTTP by hand, on bare sockets."""

import asyncio
import itertools
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psutil
import uvloop

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Load:
    requests_per_second: float
    cpu_seconds: float
    """Of the server, for each request."""
    milliseconds: Sequence[float]
    """From the moment a request was due until its answer was there, sorted."""

    def percentile(self, share: float) -> float:
        return self.milliseconds[min(int(share * len(self.milliseconds)), len(self.milliseconds) - 1)]


class _Connection(asyncio.Protocol):
    """Sends one request at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._answered: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is one by its methods only

    def get(self, request: bytes) -> "asyncio.Future[None]":
        self._received = b""
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answered

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if end and len(body) == int(length):
            assert self._answered is not None
            if head.startswith(b"HTTP/1.1 200"):
                self._answered.set_result(None)
            else:
                self._answered.set_exception(ConnectionError(head.decode("latin-1")))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error or ConnectionError("the server closed the connection"))

    def close(self) -> None:
        self._transport.close()


def saturate(
    url: str, paths: Sequence[str], key: str, server: psutil.Process, seconds: float, connections: int = 32
) -> Load:
    """As many requests as the server can answer, each connection sending the next one when it has its answer."""

    async def measure() -> Load:
        clients = await _connect(url, connections)
        requests = itertools.cycle(_requests(paths, key))
        taken: list[float] = []

        async def keep_asking(client: _Connection, end: float) -> None:
            while (began := time.perf_counter()) < end:
                await client.get(next(requests))
                taken.append(1000 * (time.perf_counter() - began))

        await asyncio.gather(*(keep_asking(client, time.perf_counter() + 1) for client in clients))
        taken.clear()
        cpu, began = _cpu_seconds(server), time.perf_counter()
        await asyncio.gather(*(keep_asking(client, began + seconds) for client in clients))
        elapsed, cpu = time.perf_counter() - began, _cpu_seconds(server) - cpu
        for client in clients:
            client.close()
        return Load(len(taken) / elapsed, cpu / len(taken), sorted(taken))

    return uvloop.run(measure())


def poll(
    url: str, paths: Sequence[str], key: str, server: psutil.Process, seconds: float, rate: float
) -> Load:
    """A fixed number of requests a second, whatever the server does; who waits for a free connection waits counted."""

    async def measure() -> Load:
        clients = await _connect(url, 64)
        requests = itertools.cycle(_requests(paths, key))
        taken: list[float] = []
        free = asyncio.Queue[_Connection]()
        for client in clients:
            free.put_nowait(client)

        async def ask(due: float) -> None:
            client = await free.get()
            await client.get(next(requests))
            free.put_nowait(client)
            taken.append(1000 * (time.perf_counter() - due))

        cpu, began = _cpu_seconds(server), time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(rate * seconds)):
                due = began + number / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                tasks.create_task(ask(due))
        cpu = _cpu_seconds(server) - cpu
        for client in clients:
            client.close()
        return Load(len(taken) / seconds, cpu / len(taken), sorted(taken))

    return uvloop.run(measure())


async def _connect(url: str, count: int) -> list[_Connection]:
    host, port = _address(url)
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(_Connection, host, port))[1] for _ in range(count)]


def _requests(paths: Sequence[str], key: str) -> list[bytes]:
    return [
        f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode() for path in paths
    ]


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def upload(url: str, path: str, key: str, files: Sequence[tuple[str, Path]]) -> str:
    """Send `(field, file)` as a form, the files by sendfile. Returns the head of the answer."""
    parts = [
        (
            f'--b\r\nContent-Disposition: form-data; name="{field}"; filename="{file.name}"\r\n\r\n'.encode(),
            file,
        )
        for field, file in files
    ]
    length = sum(len(head) + file.stat().st_size + 2 for head, file in parts) + len(b"--b--\r\n")
    with socket.create_connection(_address(url)) as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {length}\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\nConnection: close\r\n\r\n".encode()
        )
        for head, file in parts:
            connection.sendall(head)
            with file.open("rb") as content:
                connection.sendfile(content)
            connection.sendall(b"\r\n")
        connection.sendall(b"--b--\r\n")
        return connection.makefile("rb").read().partition(b"\r\n\r\n")[0].decode()


def download(url: str, path: str, key: str) -> int:
    """Receive a file and forget it. Returns the bytes received, head included."""
    buffer, received = bytearray(CHUNK), 0
    with socket.create_connection(_address(url)) as connection:
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n".encode()
        )
        while size := connection.recv_into(buffer):
            received += size
    return received


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)
