"""The table of a job's transitions and the one function that applies it. For `db.lifecycle` only."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from db.clock import database_now
from db.engine import wake
from db.errors import Fenced, IllegalTransition, NotFound
from db.models import TERMINAL_STATES, EventType, Job, JobState
from db.models.base import Json
from db.repositories import events
from db.repositories.events import Level
from db.repositories.rows import one


@dataclass(frozen=True, slots=True)
class Transition:
    sources: set[JobState]
    target: JobState
    event: EventType
    level: Level = "info"


S, E = JobState, EventType
TRANSITIONS = {
    "start": Transition({S.HELD}, S.QUEUED, E.QUEUED),
    "claim": Transition({S.QUEUED}, S.RUNNING, E.CLAIMED),
    "cancel": Transition({S.HELD, S.QUEUED}, S.CANCELLED, E.CANCELLED),
    "begin to cancel": Transition({S.RUNNING}, S.CANCELLING, E.CANCELLING),
    "end cancelling": Transition({S.CANCELLING}, S.CANCELLED, E.CANCELLED),
    "requeue": Transition({S.RUNNING}, S.QUEUED, E.REQUEUED),
    "requeue after a loss": Transition({S.RUNNING}, S.QUEUED, E.REQUEUED, "warning"),
    "succeed": Transition({S.RUNNING}, S.SUCCEEDED, E.SUCCEEDED),
    "fail": Transition({S.RUNNING}, S.FAILED, E.FAILED, "error"),
    "retry": Transition({S.FAILED, S.CANCELLED}, S.QUEUED, E.RETRIED),
}


def locked(connection: Connection, job_id: str) -> Job:
    """The job, which nobody else changes until this transaction ends."""
    job = one(connection, select(Job).where(Job.id == job_id).with_for_update())
    if job is None:
        raise NotFound("job", job_id)
    return job


def apply(
    connection: Connection,
    action: str,
    job_id: str,
    *,
    fence: int | None = None,
    message: str = "",
    data: Json | None = None,
    **columns: Any,
) -> Job:
    """Move a job along one line of the table and append the event. With `fence`, only for that attempt.

    Raises:
        NotFound, Fenced, IllegalTransition
    """
    transition = TRANSITIONS[action]
    now = database_now(connection)
    change = update(Job).where(Job.id == job_id, Job.state.in_(transition.sources))
    if fence is not None:
        change = change.where(Job.attempt == fence)
    values = _implied(transition.target, now) | columns
    job = one(
        connection,
        change.values(state=transition.target, last_event_id=Job.last_event_id + 1, **values).returning(Job),
    )
    if job is None:
        raise _refusal(locked(connection, job_id), action, fence)
    told = {"attempt": job.attempt} | (data or {})
    text = message or transition.event.value
    events.append(connection, job_id, job.last_event_id, transition.event, now, text, told, transition.level)
    if transition.target is JobState.QUEUED:
        wake(connection, job.queue)
    return job


def _implied(target: JobState, now: datetime) -> dict[str, Any]:
    """Columns that follow from the state."""
    if target is JobState.QUEUED:
        return {"worker": None, "lease_until": None, "phase": None, "hinted_at": now}
    if target in TERMINAL_STATES:
        return {"worker": None, "lease_until": None, "finished_at": now}
    return {}


def _refusal(job: Job, action: str, fence: int | None) -> Exception:
    if fence is not None and job.attempt != fence:
        return Fenced(job.id, fence)
    return IllegalTransition(job.id, action, job.state)
