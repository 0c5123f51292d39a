"""The life of a job: the only code that changes its state, each time together with the event that tells of it."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal, TypedDict

from sqlalchemy import Connection, func, insert, select, update

from core.ids import new_id
from core.settings import Queue
from db.clock import database_now
from db.engine import wake
from db.errors import Fenced, NotFound
from db.models import ACTIVE_STATES, Dataset, EventType, Job, JobState, Model
from db.models.base import Json
from db.repositories import artifacts as artifact_rows
from db.repositories import checkpoints, events, metrics, models
from db.repositories.artifacts import NewArtifact
from db.repositories.models import NewModel
from db.repositories.rows import many
from db.transitions import apply, locked

MAX_LOST_WORKERS = 3

Reason = TypedDict("Reason", {"code": str, "class": Literal["user", "capacity", "internal"], "message": str})
"""Why a job failed. The class says who can do something about it."""


class Order(StrEnum):
    """What the supervisor of an attempt shall do."""

    GO_ON = "go_on"
    CANCEL = "cancel"
    LET_GO = "let_go"
    """The job is no longer this attempt's."""


class Loss(StrEnum):
    """How an attempt came to an end that nobody asked for."""

    WORKER_LOST = "worker_lost"
    PROCESS_LOST = "process_lost"
    STALLED = "stalled"


def create_job(
    connection: Connection,
    *,
    name: str,
    model_id: str,
    dataset_id: str,
    plan: Json,
    other_model_ids: Iterable[str] = (),
    other_dataset_ids: Iterable[str] = (),
    queue: Queue = "cpu",
    auto_start: bool = True,
) -> Job:
    """`other_model_ids` and `other_dataset_ids` are those that the plan names.

    Raises:
        NotFound: a model or a dataset is not there (any more).
    """
    for id in sorted({model_id, *other_model_ids}):
        _hold(connection, Model, "model", id)
    for id in sorted({dataset_id, *other_dataset_ids}):
        _hold(connection, Dataset, "dataset", id)
    now = database_now(connection)
    job_id = new_id("job")
    columns = {"name": name, "model_id": model_id, "dataset_id": dataset_id, "plan": plan, "queue": queue}
    connection.execute(
        insert(Job).values(id=job_id, state=JobState.HELD, last_event_id=1, created_at=now, **columns)
    )
    events.append(connection, job_id, 1, EventType.CREATED, now, "created", {})
    return apply(connection, "start", job_id) if auto_start else locked(connection, job_id)


def start(connection: Connection, job_id: str) -> Job:
    """Queue a held job; one that is started already stays as it is."""
    job = locked(connection, job_id)
    return job if job.state in {JobState.QUEUED, JobState.RUNNING} else apply(connection, "start", job_id)


def cancel(connection: Connection, job_id: str) -> Job:
    """Cancel at once, or ask the worker to; one that is being cancelled stays as it is."""
    job = locked(connection, job_id)
    if job.state in {JobState.CANCELLING, JobState.CANCELLED}:
        return job
    return apply(connection, "begin to cancel" if job.state == JobState.RUNNING else "cancel", job_id)


def retry(connection: Connection, job_id: str, *, from_scratch: bool = False) -> Job:
    """Queue a failed or cancelled job again, to go on from its last checkpoint or without it."""
    job = locked(connection, job_id)
    under_way = job.state in {JobState.QUEUED, JobState.RUNNING}
    if under_way and events.has_any(connection, job_id, EventType.RETRIED):
        return job
    columns: dict[str, Any] = {"reason": None, "finished_at": None, "lost_workers": 0}
    if from_scratch:
        columns["progress"] = None
        checkpoints.clear(connection, job_id)
        metrics.clear(connection, job_id)
    return apply(connection, "retry", job_id, data={"from_scratch": from_scratch}, **columns)


def claim(connection: Connection, queue: Queue, worker: str, lease_seconds: float) -> Job | None:
    """Make the oldest queued job this worker's, if there is one. A job that another is claiming is passed over."""
    queued = select(Job.id).where(Job.queue == queue, Job.state == JobState.QUEUED).order_by(Job.id)
    job_id = connection.scalar(queued.limit(1).with_for_update(skip_locked=True))
    if job_id is None:
        return None
    now = database_now(connection)
    return apply(
        connection,
        "claim",
        job_id,
        data={"worker": worker},
        attempt=Job.attempt + 1,
        worker=worker,
        lease_until=now + timedelta(seconds=lease_seconds),
        started_at=func.coalesce(Job.started_at, now),
    )


def order(connection: Connection, job_id: str, attempt: int) -> Order:
    """What the attempt shall do; a plain read."""
    state = connection.scalar(select(Job.state).where(Job.id == job_id, Job.attempt == attempt))
    return _order(state)


def renew_lease(connection: Connection, job_id: str, attempt: int, lease_seconds: float) -> Order:
    """Keep the job, unless it is lost already; and what the attempt shall do."""
    until = database_now(connection) + timedelta(seconds=lease_seconds)
    current = update(Job).where(Job.id == job_id, Job.attempt == attempt, Job.state.in_(ACTIVE_STATES))
    return _order(connection.scalar(current.values(lease_until=until).returning(Job.state)))


def requeue(connection: Connection, job_id: str, attempt: int) -> Job:
    """Give a job back in good order, e.g. because the worker shall stop: not counted."""
    return apply(connection, "requeue", job_id, fence=attempt, message="the worker was asked to stop")


def lose(connection: Connection, job_id: str, attempt: int, loss: Loss, message: str) -> Job:
    """Queue a job again whose attempt was lost; after three in a row without a checkpoint it has failed."""
    job = locked(connection, job_id)
    if job.attempt != attempt or job.state not in ACTIVE_STATES:
        raise Fenced(job_id, attempt)
    if job.state == JobState.CANCELLING:
        return confirm_cancelled(connection, job_id, attempt)
    lost = job.lost_workers + 1
    if lost < MAX_LOST_WORKERS:
        told = {"loss": loss, "lost_workers": lost}
        return apply(
            connection, "requeue after a loss", job_id, message=message, data=told, lost_workers=lost
        )
    text = f"lost {lost} times in a row, the last time because {message}"
    reason: Reason = {"code": "worker_lost_repeatedly", "class": "internal", "message": text}
    return fail(connection, job_id, attempt, reason, lost_workers=lost)


def expire_leases(connection: Connection) -> list[Job]:
    """Take jobs from workers that no longer renew their lease."""
    expired = select(Job).where(Job.state.in_(ACTIVE_STATES), Job.lease_until < database_now(connection))
    return [
        lose(
            connection,
            job.id,
            job.attempt,
            Loss.WORKER_LOST,
            f"worker {job.worker} has not been heard of: was it killed, or did its machine run out of memory?",
        )
        for job in many(connection, expired.with_for_update(skip_locked=True))
    ]


def hint_again(connection: Connection, older_than_seconds: float) -> int:
    """Have workers woken for jobs that wait although a hint was sent so long ago; return how many."""
    now = database_now(connection)
    waiting = update(Job).where(
        Job.state == JobState.QUEUED, Job.hinted_at < now - timedelta(seconds=older_than_seconds)
    )
    queues = connection.scalars(waiting.values(hinted_at=now).returning(Job.queue)).all()
    for queue in queues:
        wake(connection, queue)
    return len(queues)


def succeed(
    connection: Connection,
    job_id: str,
    attempt: int,
    *,
    verdict: Literal["met", "not_met"],
    result: Json,
    model: NewModel,
    artifacts: Sequence[NewArtifact],
) -> Job:
    """End a job well: state, result model and artifacts appear together or not at all."""
    job = apply(
        connection,
        "succeed",
        job_id,
        fence=attempt,
        data={"verdict": verdict, "result_model_id": model.id, **result},
        verdict=verdict,
        result=result,
        result_model_id=model.id,
    )
    models.add(connection, model)
    artifact_rows.add(connection, job_id, artifacts)
    checkpoints.clear(connection, job_id)
    return job


def fail(connection: Connection, job_id: str, attempt: int, reason: Reason, **columns: Any) -> Job:
    return apply(
        connection,
        "fail",
        job_id,
        fence=attempt,
        message=reason["message"],
        data={"reason": reason},
        reason=reason,
        **columns,
    )


def confirm_cancelled(connection: Connection, job_id: str, attempt: int) -> Job:
    """End a job that a user wanted cancelled, now that nothing runs for it any more."""
    return apply(connection, "end cancelling", job_id, fence=attempt)


def _hold(connection: Connection, table: type[Model] | type[Dataset], kind: str, id: str) -> None:
    """Lock a row, shared: who deletes it waits for this commit, and then sees the job that needs it."""
    if connection.scalar(select(table.id).where(table.id == id).with_for_update(read=True)) is None:
        raise NotFound(kind, id)


def _order(state: JobState | None) -> Order:
    if state == JobState.CANCELLING:
        return Order.CANCEL
    return Order.GO_ON if state in ACTIVE_STATES else Order.LET_GO
