"""Answers that were given under an `Idempotency-Key`."""

from sqlalchemy import ColumnElement, Connection, and_, insert, select, update
from sqlalchemy.exc import IntegrityError

from db.clock import database_now
from db.models import IdempotencyKey
from db.models.base import Json
from db.repositories.rows import one


def reserve(
    connection: Connection, *, api_key_id: str, route: str, key: str, request_hash: str
) -> IdempotencyKey | None:
    """Take the key and return None, or return what it was taken for.

    Waits for another transaction that has just taken it.
    """
    try:
        with connection.begin_nested():
            connection.execute(
                insert(IdempotencyKey).values(
                    api_key_id=api_key_id,
                    route=route,
                    key=key,
                    request_hash=request_hash,
                    created_at=database_now(connection),
                )
            )
    except IntegrityError:
        return one(connection, select(IdempotencyKey).where(_same(api_key_id, route, key)))
    return None


def complete(
    connection: Connection, *, api_key_id: str, route: str, key: str, status: int, headers: Json, body: Json
) -> None:
    """Keep the answer, in the transaction that did the work."""
    connection.execute(
        update(IdempotencyKey)
        .where(_same(api_key_id, route, key))
        .values(status=status, headers=headers, body=body)
    )


def _same(api_key_id: str, route: str, key: str) -> ColumnElement[bool]:
    return and_(
        IdempotencyKey.api_key_id == api_key_id, IdempotencyKey.route == route, IdempotencyKey.key == key
    )
