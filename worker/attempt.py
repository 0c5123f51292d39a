"""One run of a job on this worker: claim, prepare, supervise, publish."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from compression.events import Phase, ResultEvent
from core.ids import new_id
from core.settings import Settings
from core.storage import Storage, log_key
from db import lifecycle, reporting
from db.engine import DATABASE_AWAY, Database
from db.errors import Fenced, IllegalTransition
from db.lifecycle import Order
from db.models import Job, JobState
from db.repositories import checkpoints
from worker.child import COMMAND, Nursery
from worker.lease import Lease
from worker.outcome import Outcome, outcome_of, outcome_of_error
from worker.prepare import prepare
from worker.publish import publish, remove_leftovers, withdraw
from worker.reports import Reports
from worker.supervisor import Ended, Stop, Supervisor
from worker.workspace import Workspace

T = TypeVar("T")

log = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0


class Worker:
    """Runs the jobs of one queue, one at a time, until `drain` is set."""

    def __init__(self, settings: Settings, database: Database, command: Sequence[str] = COMMAND) -> None:
        self.id = new_id("wrk")
        self.drain = threading.Event()
        self._settings = settings
        self._database = database
        self._storage = Storage(settings.storage)
        self._workspace = Workspace(settings.data / "scratch", self.id)
        self._nursery = Nursery(settings, self._workspace.folder, command)
        self._nursery.prepare()

    def work(self) -> None:
        """Run jobs until there are none left."""
        while not self.drain.is_set() and (job := self._claim()) is not None:
            with structlog.contextvars.bound_contextvars(job_id=job.id, attempt=job.attempt):
                self.run(job)

    def close(self) -> None:
        self._nursery.close()
        self._workspace.close()

    def _claim(self) -> Job | None:
        queue, seconds = self._settings.queue, self._settings.lease_seconds
        with self._database.transaction() as connection:
            return lifecycle.claim(connection, queue, self.id, seconds)

    def run(self, job: Job) -> None:
        """Run one attempt of a job that was claimed. Whatever happens in it, the worker lives on."""
        log.info("attempt_begins")
        with (
            self._workspace.attempt(job.id, job.attempt) as folder,
            Lease(self._database, job, self._settings) as lease,
        ):
            try:
                self._attempt(job, folder, lease)
            except Fenced:
                log.warning("attempt_fenced")
            except DATABASE_AWAY:  # the lease runs out, and the sweeper queues the job again
                log.exception("attempt_given_up")
        log.info("attempt_ends")

    def _attempt(self, job: Job, folder: Path, lease: Lease) -> None:
        try:
            self._report_phase(job, Phase.FETCH, lease)
            saved = self._write(lambda c: checkpoints.newest_first(c, job.id), lease)
            spec = prepare(self._storage, self._settings, job, saved, folder)
            ended = self._supervise(job, spec, folder / "out", lease)
            self._conclude(job, ended, folder / "out", lease)
        except (Fenced, *DATABASE_AWAY):
            raise
        except BaseException as error:  # MemoryError and Rust panics included
            log.exception("attempt_failed_in_worker")
            self._settle(job, outcome_of_error(error, job), lease)

    def _supervise(self, job: Job, spec: Path, out: Path, lease: Lease) -> Ended:
        with self._storage.append(log_key(job.id)) as log_file:
            log_file.write(f"--- attempt {job.attempt} on {self.id} ---\n".encode())
            child = self._nursery.take()
            child.begin(spec, out, log_file)
            reports = Reports(self._database, self._storage, job)
            # The next job's process is imported while this one trains, not while it measures: that would take the
            # measurements their meaning.
            prepare_next = self._prepare_next
            ended = Supervisor(child, out, lease, reports, self._settings, self.drain, prepare_next).run()
        self._prepare_next()
        log.info("process_ended", exit_code=ended.exit_code, stop=ended.stop)
        return ended

    def _prepare_next(self) -> None:
        if not self.drain.is_set():
            self._nursery.prepare()

    def _conclude(self, job: Job, ended: Ended, out: Path, lease: Lease) -> None:
        if ended.stop is Stop.LET_GO:
            return
        if ended.stop is not Stop.CANCEL and ended.exit_code == 0 and ended.result is not None:
            self._publish(job, ended.result, out, lease)
        else:
            self._settle(job, outcome_of(ended, job), lease)

    def _publish(self, job: Job, result: ResultEvent, out: Path, lease: Lease) -> None:
        self._report_phase(job, Phase.PUBLISH, lease)
        published = publish(self._storage, job, out)

        def success(connection: Connection) -> Job:
            return lifecycle.succeed(
                connection,
                job.id,
                job.attempt,
                verdict=result.verdict,
                result=result.model_dump(include={"metric", "before", "after", "retention"}),
                model=published.model,
                artifacts=published.artifacts,
            )

        try:
            state = self._settle(job, success, lease)
        except Fenced:
            withdraw(self._storage, job, published.model.id)
            raise
        if state is JobState.SUCCEEDED:
            remove_leftovers(self._storage, job)
        else:
            withdraw(self._storage, job, published.model.id)

    def _settle(self, job: Job, outcome: Outcome, lease: Lease) -> JobState:
        """Write how the attempt ended. Returns the state that the job is in now."""
        try:
            return self._write(outcome, lease).state
        except IllegalTransition as refusal:
            if refusal.state != JobState.CANCELLING:  # e.g. succeeded, by a commit whose answer was lost
                return refusal.state
        return self._write(lambda c: lifecycle.confirm_cancelled(c, job.id, job.attempt), lease).state

    def _report_phase(self, job: Job, phase: Phase, lease: Lease) -> None:
        self._write(lambda c: reporting.report_phase(c, job.id, job.attempt, phase), lease)

    def _write(self, deed: Callable[[Connection], T], lease: Lease) -> T:
        """One transaction; one that the database was away for is tried again while the lease lasts."""
        while True:
            try:
                with self._database.transaction() as connection:
                    return deed(connection)
            except DATABASE_AWAY:
                if lease.order is Order.LET_GO:
                    raise
                log.warning("database_away")
                time.sleep(RETRY_SECONDS)
