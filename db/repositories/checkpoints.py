"""Checkpoints of a job."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from db.models import Checkpoint
from db.repositories.rows import many


@dataclass(frozen=True, slots=True)
class NewCheckpoint:
    """A file that is stored under `key`."""

    name: str
    key: str
    size: int
    sha256: str


def add(
    connection: Connection,
    job_id: str,
    attempt: int,
    event_id: int,
    checkpoint: NewCheckpoint,
    now: datetime,
) -> None:
    connection.execute(
        insert(Checkpoint).values(
            **asdict(checkpoint), job_id=job_id, attempt=attempt, event_id=event_id, created_at=now
        )
    )


def newest_first(connection: Connection, job_id: str) -> Sequence[Checkpoint]:
    return many(
        connection,
        select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.event_id.desc()),
    )


def remove(connection: Connection, job_id: str, event_ids: Sequence[int]) -> None:
    connection.execute(
        delete(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.event_id.in_(event_ids))
    )


def clear(connection: Connection, job_id: str) -> None:
    connection.execute(delete(Checkpoint).where(Checkpoint.job_id == job_id))
