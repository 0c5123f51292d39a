"""Keys of users; only hashes are kept."""

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select, update

from core.ids import new_id
from db.clock import database_now
from db.models import ApiKey
from db.repositories.rows import many, one


def add(connection: Connection, *, name: str, prefix: str, hash: str) -> str:
    """Keep a key and return its id."""
    id = new_id("key")
    now = database_now(connection)
    connection.execute(insert(ApiKey).values(id=id, name=name, prefix=prefix, hash=hash, created_at=now))
    return id


def find_by_prefix(connection: Connection, prefix: str) -> ApiKey | None:
    """A key that is not revoked."""
    return one(connection, select(ApiKey).where(ApiKey.prefix == prefix, ApiKey.revoked_at.is_(None)))


def all_of_them(connection: Connection) -> Sequence[ApiKey]:
    return many(connection, select(ApiKey).order_by(ApiKey.id))


def touch(connection: Connection, id: str) -> None:
    """Note that a key was used."""
    connection.execute(update(ApiKey).where(ApiKey.id == id).values(last_used_at=database_now(connection)))


def revoke(connection: Connection, id: str) -> None:
    connection.execute(update(ApiKey).where(ApiKey.id == id).values(revoked_at=database_now(connection)))
