"""Jobs: reads only. What changes them is in `db.lifecycle` and `db.reporting`."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, String, bindparam, cast, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from db.clock import database_now
from db.models import ACTIVE_STATES, TERMINAL_STATES, Job, JobState
from db.repositories.rows import Page, many, newest_first, one

# Built once: this is the query of everybody who polls, and building it takes as long as running it.
_VERSIONS = select(Job.id, Job.last_event_id).where(Job.id.in_(bindparam("ids", expanding=True)))


def find(connection: Connection, id: str) -> Job | None:
    return one(connection, select(Job).where(Job.id == id))


def find_all(connection: Connection, ids: Collection[str]) -> Sequence[Job]:
    return many(connection, select(Job).where(Job.id.in_(ids)))


def versions(connection: Connection, ids: Collection[str]) -> dict[str, int]:
    """The id of the last event by job: whatever a user sees of a job changes together with an event."""
    return dict(connection.execute(_VERSIONS, {"ids": list(ids)}).all())


def page(
    connection: Connection, *, states: Collection[JobState] = (), after: str | None, limit: int
) -> Page[Job]:
    """Jobs in any of `states`, or all."""
    statement = select(Job).where(Job.state.in_(states)) if states else select(Job)
    return newest_first(connection, statement, Job.id, after=after, limit=limit)


def count_by_state(connection: Connection) -> dict[JobState, int]:
    counts = connection.execute(select(Job.state, func.count()).group_by(Job.state))
    return dict(counts.all())


def count_without_lease(connection: Connection) -> int:
    """Jobs at work whose lease has run out. Where a sweeper runs, it is zero again within seconds."""
    expired = Job.state.in_(ACTIVE_STATES), Job.lease_until < database_now(connection)
    return connection.scalar(select(func.count()).select_from(Job).where(*expired)) or 0


def any_queued(connection: Connection, queue: str) -> bool:
    found = exists().where(Job.queue == queue, Job.state == JobState.QUEUED)
    return bool(connection.scalar(select(found)))


def unfinished_with_model(connection: Connection, model_id: str) -> list[str]:
    return _unfinished(connection, Job.model_id, model_id)


def unfinished_with_dataset(connection: Connection, dataset_id: str) -> list[str]:
    return _unfinished(connection, Job.dataset_id, dataset_id)


def _unfinished(connection: Connection, made_from: InstrumentedAttribute[str], id: str) -> list[str]:
    """Made from it, or with a plan that names it: no other text holds an id."""
    needs_it = or_(made_from == id, cast(Job.plan, String).contains(id))
    statement = select(Job.id).where(needs_it, Job.state.not_in(TERMINAL_STATES)).order_by(Job.id)
    return list(connection.scalars(statement))
