"""Models."""

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, insert, select

from db.clock import database_now
from db.errors import InUse, NotFound
from db.models import Model
from db.models.base import Json
from db.repositories import jobs
from db.repositories.rows import Page, newest_first, one


@dataclass(frozen=True, slots=True)
class NewModel:
    """A model whose files are stored at `models/{id}/`."""

    id: str
    name: str
    sha256: str
    bytes: int
    files: list[Json]
    facts: Json
    source_job_id: str | None = None


def add(connection: Connection, model: NewModel) -> None:
    connection.execute(insert(Model).values(**asdict(model), created_at=database_now(connection)))


def find(connection: Connection, id: str) -> Model | None:
    return one(connection, select(Model).where(Model.id == id))


def page(connection: Connection, *, after: str | None, limit: int) -> Page[Model]:
    return newest_first(connection, select(Model), Model.id, after=after, limit=limit)


def remove(connection: Connection, id: str) -> None:
    """Delete the row; its files are the caller's, after the commit.

    Raises:
        NotFound: there is no such model.
        InUse: a job that has not ended is made from it.
    """
    if connection.scalar(select(Model.id).where(Model.id == id).with_for_update()) is None:
        raise NotFound("model", id)
    if users := jobs.unfinished_with_model(connection, id):
        raise InUse("model", id, users)
    connection.execute(delete(Model).where(Model.id == id))
