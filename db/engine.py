"""The database: one transaction per piece of work, and cheap reads beside it. PostgreSQL or SQLite."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError

DATABASE_AWAY = (OperationalError, InterfaceError, InternalError)
"""What a transaction raises that may well succeed when it is tried again (InternalError: it idled for too long)."""

_POSTGRES = {
    "connect_timeout": 5,
    # A server that is gone is noticed in half a minute, so that a worker sees that its lease has run out.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    # A client that is frozen in a transaction must not keep its job from being taken away.
    "options": "-c idle_in_transaction_session_timeout=15s",
}
_QUEUES_TO_WAKE = "queues to wake"


class Database:
    """Two pools: transactions, and reads that end with their statement (SQLAlchemy's AUTOCOMMIT)."""

    def __init__(self, url: str, on_queued: Callable[[str], None] = lambda queue: None) -> None:
        """`on_queued` is told, after the commit, the queue of each job that a transaction has queued."""
        self._on_queued = on_queued
        self._writer = create_database_engine(url, pool_pre_ping=True)
        self._reader = create_database_engine(url, isolation_level="AUTOCOMMIT")
        if self._writer.dialect.name == "sqlite":
            event.listen(self._writer, "begin", _begin_immediate)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """The unit of work: committed at the end, rolled back on an exception."""
        with self._writer.begin() as connection:
            queues: list[str] = []
            connection.info[_QUEUES_TO_WAKE] = queues
            yield connection
        for queue in queues:
            self._on_queued(queue)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """For reads that need no common snapshot."""
        with self._reader.connect() as connection:
            yield connection

    def close(self) -> None:
        self._writer.dispose()
        self._reader.dispose()


def wake(connection: Connection, queue: str) -> None:
    """Have a worker of a queue woken once this transaction is committed, and never if it is not."""
    connection.info[_QUEUES_TO_WAKE].append(queue)


def create_database_engine(url: str, **options: Any) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, connect_args=_POSTGRES, **options)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    # Without the driver's own transactions: it would begin them late, as readers, and fail when they come to write.
    engine = create_engine(parsed, connect_args={"timeout": 30, "isolation_level": None}, **options)
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
