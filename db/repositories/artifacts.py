"""Artifacts of a job. They appear all at once, when it succeeds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, insert, select

from db.clock import database_now
from db.models import Artifact
from db.repositories.rows import many, one


@dataclass(frozen=True, slots=True)
class NewArtifact:
    """A file that is stored under `key`."""

    name: str
    size: int
    sha256: str
    media_type: str
    key: str


def add(connection: Connection, job_id: str, artifacts: Sequence[NewArtifact]) -> None:
    now = database_now(connection)
    rows = [{**asdict(artifact), "job_id": job_id, "created_at": now} for artifact in artifacts]
    connection.execute(insert(Artifact), rows)


def find(connection: Connection, job_id: str, name: str) -> Artifact | None:
    return one(connection, select(Artifact).where(Artifact.job_id == job_id, Artifact.name == name))


def of_job(connection: Connection, job_id: str) -> Sequence[Artifact]:
    return many(connection, select(Artifact).where(Artifact.job_id == job_id).order_by(Artifact.name))
