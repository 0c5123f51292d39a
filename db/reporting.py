"""What an attempt tells of its job while it runs. A report for an attempt that is not the current one is refused."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update

from db.clock import database_now
from db.errors import Fenced
from db.models import ACTIVE_STATES, EventType, Job
from db.models.base import Json
from db.repositories import checkpoints, events, metrics
from db.repositories.checkpoints import NewCheckpoint
from db.repositories.events import Level

KEPT_CHECKPOINTS = 2
"""The newest, and the one before for the case that the newest is damaged."""


def report_phase(connection: Connection, job_id: str, attempt: int, phase: str) -> None:
    _report(connection, job_id, attempt, EventType.PHASE, phase, {"phase": phase}, phase=phase)


def report_progress(
    connection: Connection, job_id: str, attempt: int, *, step: int, total: int, eta_seconds: float | None
) -> None:
    fraction = step / total if total else 0.0
    progress = {"step": step, "total": total, "fraction": fraction, "eta_seconds": eta_seconds}
    message = f"step {step} of {total}"
    _report(connection, job_id, attempt, EventType.PROGRESS, message, progress, progress=progress)


def report_metrics(
    connection: Connection, job_id: str, attempt: int, step: int, values: Mapping[str, float]
) -> None:
    message = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    _report(connection, job_id, attempt, EventType.METRIC, message, {"step": step, "values": dict(values)})
    metrics.put(connection, job_id, step, values)


def report_warning(connection: Connection, job_id: str, attempt: int, code: str, message: str) -> None:
    _report(connection, job_id, attempt, EventType.WARNING, message, {"code": code}, "warning")


def report_checkpoint(
    connection: Connection, job_id: str, attempt: int, checkpoint: NewCheckpoint
) -> list[str]:
    """Register a stored checkpoint; a job that gets ahead is not a lost one. Returns keys that are now of no use."""
    told = {"name": checkpoint.name, "size": checkpoint.size}
    event_id, now = _report(
        connection, job_id, attempt, EventType.CHECKPOINT, checkpoint.name, told, lost_workers=0
    )
    checkpoints.add(connection, job_id, attempt, event_id, checkpoint, now)
    old = checkpoints.newest_first(connection, job_id)[KEPT_CHECKPOINTS:]
    checkpoints.remove(connection, job_id, [row.event_id for row in old])
    return [row.key for row in old]


def _report(
    connection: Connection,
    job_id: str,
    attempt: int,
    type: EventType,
    message: str,
    data: Json,
    level: Level = "info",
    **columns: Any,
) -> tuple[int, datetime]:
    """Append an event and set columns. Returns the event's id and time."""
    current = update(Job).where(Job.id == job_id, Job.attempt == attempt, Job.state.in_(ACTIVE_STATES))
    raised = current.values(last_event_id=Job.last_event_id + 1, **columns).returning(Job.last_event_id)
    event_id = connection.scalar(raised)
    if event_id is None:
        raise Fenced(job_id, attempt)
    now = database_now(connection)
    events.append(connection, job_id, event_id, type, now, message, data, level)
    return event_id, now
