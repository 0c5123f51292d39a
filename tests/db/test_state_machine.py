"""The life of a job held against a reference: any sequence of what users, workers and the sweeper can do."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import Connection, update

from db import lifecycle, reporting
from db.clock import database_now
from db.engine import Database
from db.errors import Fenced, IllegalTransition
from db.lifecycle import Loss
from db.migrate import migrate
from db.models import ACTIVE_STATES, TERMINAL_STATES, Job, JobState
from db.repositories import artifacts, events, jobs
from db.repositories.checkpoints import NewCheckpoint
from tests.db.records import add_inputs, new_job, succeed

S = JobState


class LifeOfAJob(RuleBasedStateMachine):
    """`state`, `attempt` and `lost` are the reference; a zombie is an attempt that was replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        url = f"sqlite:///{Path(self.folder.name) / 'test.db'}"
        migrate(url)
        self.database = Database(url)
        add_inputs(self.database)
        self.attempt, self.lost = 0, 0
        self.state = S.QUEUED

    def teardown(self) -> None:
        self.database.close()
        self.folder.cleanup()

    @initialize()
    def create(self) -> None:
        with self.database.transaction() as connection:
            self.id = new_job(connection).id

    def do(self, deed: Callable[[Connection], object], target: JobState | None) -> None:
        """A deed leads to `target`, or is refused and changes nothing."""
        try:
            with self.database.transaction() as connection:
                deed(connection)
        except (IllegalTransition, Fenced):
            assert target is None
        else:
            assert target is not None
            self.state = target

    def job(self) -> Job:
        with self.database.reading() as connection:
            job = jobs.find(connection, self.id)
        assert job is not None
        return job

    @rule()
    def claim(self) -> None:
        with self.database.transaction() as connection:
            claimed = lifecycle.claim(connection, "cpu", "worker", 60)
        assert (claimed is not None) == (self.state is S.QUEUED)
        if claimed is not None:
            self.state, self.attempt = S.RUNNING, self.attempt + 1

    @rule()
    def cancel(self) -> None:
        targets = {S.QUEUED: S.CANCELLED, S.RUNNING: S.CANCELLING}
        unchanged = {S.CANCELLING: S.CANCELLING, S.CANCELLED: S.CANCELLED}
        self.do(lambda c: lifecycle.cancel(c, self.id), (targets | unchanged).get(self.state))

    @precondition(lambda self: self.state in {S.FAILED, S.CANCELLED, S.SUCCEEDED})
    @rule()
    def retry(self) -> None:
        target = None if self.state is S.SUCCEEDED else S.QUEUED
        self.do(lambda c: lifecycle.retry(c, self.id), target)
        self.lost = 0 if target else self.lost

    @precondition(lambda self: self.attempt > 0)
    @rule()
    def finish(self) -> None:
        self.do(lambda c: succeed(c, self.job()), S.SUCCEEDED if self.state is S.RUNNING else None)

    @precondition(lambda self: self.attempt > 0)
    @rule()
    def drain(self) -> None:
        target = S.QUEUED if self.state is S.RUNNING else None
        self.do(lambda c: lifecycle.requeue(c, self.id, self.attempt), target)

    @precondition(lambda self: self.attempt > 0)
    @rule()
    def confirm(self) -> None:
        target = S.CANCELLED if self.state is S.CANCELLING else None
        self.do(lambda c: lifecycle.confirm_cancelled(c, self.id, self.attempt), target)

    @precondition(lambda self: self.attempt > 0)
    @rule()
    def lose_the_process(self) -> None:
        self.do(
            lambda c: lifecycle.lose(c, self.id, self.attempt, Loss.PROCESS_LOST, "x"), self._after_loss()
        )

    @rule()
    def lose_the_worker(self) -> None:
        with self.database.transaction() as connection:
            past = database_now(connection) - timedelta(seconds=1)
            running = update(Job).where(Job.state.in_(ACTIVE_STATES))
            connection.execute(running.values(lease_until=past))
            lifecycle.expire_leases(connection)
        self.state = self._after_loss() or self.state

    def _after_loss(self) -> JobState | None:
        if self.state is S.CANCELLING:
            return S.CANCELLED
        if self.state is not S.RUNNING:
            return None
        self.lost += 1
        return S.FAILED if self.lost == 3 else S.QUEUED

    @precondition(lambda self: self.attempt > 0)
    @rule()
    def checkpoint(self) -> None:
        target = self.state if self.state in ACTIVE_STATES else None
        new = NewCheckpoint("01", "key", 1, "0")
        self.do(lambda c: reporting.report_checkpoint(c, self.id, self.attempt, new), target)
        self.lost = 0 if target else self.lost

    @precondition(lambda self: self.attempt > 1)
    @rule()
    def a_zombie_writes(self) -> None:
        old = self.attempt - 1
        self.do(lambda c: lifecycle.requeue(c, self.id, old), None)
        self.do(lambda c: lifecycle.lose(c, self.id, old, Loss.STALLED, "x"), None)
        self.do(lambda c: reporting.report_phase(c, self.id, old, "load"), None)

    @invariant()
    def the_job_is_what_the_reference_says(self) -> None:
        if not hasattr(self, "id"):
            return
        job = self.job()
        assert (job.state, job.attempt, job.lost_workers) == (self.state, self.attempt, self.lost)
        assert (job.lease_until is not None) == (self.state in ACTIVE_STATES)
        assert (job.finished_at is not None) == (self.state in TERMINAL_STATES)
        assert (job.reason is not None) == (self.state is S.FAILED)
        with self.database.reading() as connection:
            told = [event.id for event in events.after(connection, self.id, 0, 1000)]
            assert told == list(range(1, job.last_event_id + 1))
            assert bool(artifacts.of_job(connection, self.id)) == (self.state is S.SUCCEEDED)


LifeOfAJob.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestLifeOfAJob = LifeOfAJob.TestCase
