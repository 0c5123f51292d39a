"""Datasets."""

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, insert, select

from db.clock import database_now
from db.errors import InUse, NotFound
from db.models import Dataset
from db.models.base import Json
from db.repositories import jobs
from db.repositories.rows import Page, newest_first, one


@dataclass(frozen=True, slots=True)
class NewDataset:
    """A dataset whose files are stored at `datasets/{id}/`."""

    id: str
    name: str
    sha256: str
    bytes: int
    summary: Json


def add(connection: Connection, dataset: NewDataset) -> None:
    connection.execute(insert(Dataset).values(**asdict(dataset), created_at=database_now(connection)))


def find(connection: Connection, id: str) -> Dataset | None:
    return one(connection, select(Dataset).where(Dataset.id == id))


def page(connection: Connection, *, after: str | None, limit: int) -> Page[Dataset]:
    return newest_first(connection, select(Dataset), Dataset.id, after=after, limit=limit)


def remove(connection: Connection, id: str) -> None:
    """Delete the row; its files are the caller's, after the commit.

    Raises:
        NotFound: there is no such dataset.
        InUse: a job that has not ended is made from it.
    """
    if connection.scalar(select(Dataset.id).where(Dataset.id == id).with_for_update()) is None:
        raise NotFound("dataset", id)
    if users := jobs.unfinished_with_dataset(connection, id):
        raise InUse("dataset", id, users)
    connection.execute(delete(Dataset).where(Dataset.id == id))
