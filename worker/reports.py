"""Carries what the compression process says into the database, in few transactions."""

import time
from collections.abc import Callable
from pathlib import Path

import structlog
from sqlalchemy import Connection

from compression.events import CheckpointEvent, Event, MetricEvent, PhaseEvent, ProgressEvent, WarningEvent
from core.storage import Storage
from db import reporting
from db.engine import DATABASE_AWAY, Database
from db.models import Job
from db.repositories.checkpoints import NewCheckpoint

log = structlog.get_logger(__name__)

PROGRESS_SECONDS = 2.0
FLUSH_SECONDS = 0.5

Report = Callable[[Connection], list[str] | None]
"""Writes something and may return storage keys that are of no use after the commit."""


class Reports:
    """Reports wait here while the database is away; nothing is lost as long as the attempt lives."""

    def __init__(self, database: Database, storage: Storage, job: Job) -> None:
        self._database = database
        self._storage = storage
        self._id, self._attempt = job.id, job.attempt
        self._pending: list[Report] = []
        self._urgent = False
        self._progress: ProgressEvent | None = None
        self._progress_told_at = self._flushed_at = -PROGRESS_SECONDS

    def take(self, event: Event, checkpoints: Path) -> None:
        """Note an event; a checkpoint is stored at once, since the process will remove it."""
        id, attempt = self._id, self._attempt
        self._urgent = self._urgent or isinstance(event, PhaseEvent | CheckpointEvent)
        match event:
            case PhaseEvent(phase=phase):
                self._pending.append(lambda c: reporting.report_phase(c, id, attempt, phase))
            case MetricEvent(step=step, values=values):
                self._pending.append(lambda c: reporting.report_metrics(c, id, attempt, step, values))
            case WarningEvent(code=code, message=message):
                self._pending.append(lambda c: reporting.report_warning(c, id, attempt, code, message))
            case CheckpointEvent():
                if (stored := self._store(event, checkpoints)) is not None:
                    self._pending.append(lambda c: reporting.report_checkpoint(c, id, attempt, stored))
            case ProgressEvent():
                self._progress = event

    def _store(self, event: CheckpointEvent, folder: Path) -> NewCheckpoint | None:
        """None: the process was faster, and has removed it for newer ones, of which it tells next."""
        name = f"{event.name}.safetensors"
        key = f"jobs/{self._id}/checkpoints/{self._attempt}-{name}"
        try:
            self._storage.put(key, folder / name)
        except FileNotFoundError:
            if (folder / name).exists():
                raise
            log.warning("checkpoint_outrun", name=name)
            return None
        return NewCheckpoint(event.name, key, event.bytes, event.sha256)

    def flush(self, *, now: bool = False) -> bool:
        """Write what has gathered, as a rule twice a second at most; False if the database is away.

        Raises:
            Fenced: the attempt is not the current one.
        """
        moment = time.monotonic()
        if self._progress and (now or moment - self._progress_told_at >= PROGRESS_SECONDS):
            self._pending.append(self._report_progress(self._progress))
            self._progress, self._progress_told_at = None, moment
        due = now or self._urgent or moment - self._flushed_at >= FLUSH_SECONDS
        if not self._pending or not due:
            return True
        self._flushed_at, self._urgent = moment, False
        try:
            with self._database.transaction() as connection:
                useless = [key for report in self._pending for key in report(connection) or []]
        except DATABASE_AWAY as error:
            log.warning("reports_wait", reports=len(self._pending), error=str(error.orig))
            return False
        self._pending.clear()
        for key in useless:
            self._storage.delete(key)
        return True

    def _report_progress(self, event: ProgressEvent) -> Report:
        return lambda connection: reporting.report_progress(
            connection,
            self._id,
            self._attempt,
            step=event.step,
            total=event.total,
            eta_seconds=event.eta_seconds,
        )
