"""Jobs: reads only. What changes them is in `db.lifecycle` and `db.reporting`."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, func, select

from db.models import TERMINAL_STATES, Job, JobState
from db.repositories.rows import Page, newest_first, one


def find(connection: Connection, id: str) -> Job | None:
    return one(connection, select(Job).where(Job.id == id))


def page(
    connection: Connection, *, states: Collection[JobState] = (), after: str | None, limit: int
) -> Page[Job]:
    """Jobs in any of `states`, or all."""
    statement = select(Job).where(Job.state.in_(states)) if states else select(Job)
    return newest_first(connection, statement, Job.id, after=after, limit=limit)


def count_by_state(connection: Connection) -> dict[JobState, int]:
    counts = connection.execute(select(Job.state, func.count()).group_by(Job.state)).tuples()
    return dict(counts.all())


def unfinished_with_model(connection: Connection, model_id: str) -> list[str]:
    return _unfinished(connection, Job.model_id == model_id)


def unfinished_with_dataset(connection: Connection, dataset_id: str) -> list[str]:
    return _unfinished(connection, Job.dataset_id == dataset_id)


def _unfinished(connection: Connection, where: ColumnElement[bool]) -> list[str]:
    statement = select(Job.id).where(where, Job.state.not_in(TERMINAL_STATES)).order_by(Job.id)
    return list(connection.scalars(statement))
