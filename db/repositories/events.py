"""Events of a job, in the order of their ids."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, exists, insert, select

from db.models import Event, EventType
from db.models.base import Json
from db.repositories.rows import many

Level = Literal["info", "warning", "error"]


def append(
    connection: Connection,
    job_id: str,
    id: int,
    type: EventType,
    time: datetime,
    message: str,
    data: Json,
    level: Level = "info",
) -> None:
    """`id` comes from `jobs.last_event_id`, raised in this transaction: the row lock puts events in order."""
    text = message.replace("\0", "\ufffd")  # PostgreSQL has no place for a NUL
    connection.execute(
        insert(Event).values(job_id=job_id, id=id, type=type, time=time, level=level, message=text, data=data)
    )


def after(connection: Connection, job_id: str, id: int, limit: int) -> Sequence[Event]:
    """Events newer than `id`, oldest first."""
    statement = select(Event).where(Event.job_id == job_id, Event.id > id).order_by(Event.id).limit(limit)
    return many(connection, statement)


def has_any(connection: Connection, job_id: str, type: EventType) -> bool:
    found = connection.scalar(select(exists().where(Event.job_id == job_id, Event.type == type)))
    return bool(found)
