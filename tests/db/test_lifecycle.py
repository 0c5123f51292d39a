from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import Connection, update

from db import lifecycle, reporting
from db.clock import database_now
from db.engine import Database
from db.errors import Fenced, IllegalTransition, InUse, NotFound
from db.lifecycle import Loss, Order, Reason
from db.models import ACTIVE_STATES, TERMINAL_STATES, Job, JobState
from db.repositories import artifacts, checkpoints, datasets, events, jobs, metrics, models
from db.repositories.checkpoints import NewCheckpoint
from tests.db.records import DATASET_ID, MODEL_ID, add_inputs, new_job, succeed

REASON: Reason = {"code": "diverged", "class": "user", "message": "the loss is not finite"}

ROUTES: dict[JobState, list[str]] = {
    JobState.HELD: ["create held"],
    JobState.QUEUED: ["create"],
    JobState.RUNNING: ["create", "claim"],
    JobState.CANCELLING: ["create", "claim", "cancel"],
    JobState.SUCCEEDED: ["create", "claim", "succeed"],
    JobState.FAILED: ["create", "claim", "fail"],
    JobState.CANCELLED: ["create", "cancel"],
}
"""How to bring a new job to each state."""

DEEDS: dict[str, Callable[[Connection, Job], Job]] = {
    "start": lambda c, job: lifecycle.start(c, job.id),
    "cancel": lambda c, job: lifecycle.cancel(c, job.id),
    "retry": lambda c, job: lifecycle.retry(c, job.id),
    "requeue": lambda c, job: lifecycle.requeue(c, job.id, job.attempt),
    "lose": lambda c, job: lifecycle.lose(c, job.id, job.attempt, Loss.PROCESS_LOST, "it was killed"),
    "succeed": succeed,
    "fail": lambda c, job: lifecycle.fail(c, job.id, job.attempt, REASON),
    "confirm": lambda c, job: lifecycle.confirm_cancelled(c, job.id, job.attempt),
}

S = JobState
ALLOWED: dict[tuple[str, JobState], JobState] = {
    ("start", S.HELD): S.QUEUED,
    ("start", S.QUEUED): S.QUEUED,
    ("start", S.RUNNING): S.RUNNING,
    ("cancel", S.HELD): S.CANCELLED,
    ("cancel", S.QUEUED): S.CANCELLED,
    ("cancel", S.RUNNING): S.CANCELLING,
    ("cancel", S.CANCELLING): S.CANCELLING,
    ("cancel", S.CANCELLED): S.CANCELLED,
    ("retry", S.FAILED): S.QUEUED,
    ("retry", S.CANCELLED): S.QUEUED,
    ("requeue", S.RUNNING): S.QUEUED,
    ("lose", S.RUNNING): S.QUEUED,
    ("lose", S.CANCELLING): S.CANCELLED,
    ("succeed", S.RUNNING): S.SUCCEEDED,
    ("fail", S.RUNNING): S.FAILED,
    ("confirm", S.CANCELLING): S.CANCELLED,
}
"""What each deed makes of each state; everything else is refused."""


@pytest.fixture
def database(database: Database) -> Database:
    add_inputs(database)
    return database


def claimed(database: Database, worker: str = "worker") -> Job:
    with database.transaction() as connection:
        job = lifecycle.claim(connection, "cpu", worker, 60)
    assert job is not None
    return job


def job_in(database: Database, state: JobState) -> Job:
    with database.transaction() as connection:
        job = new_job(connection, auto_start=state is not JobState.HELD)
        for deed in ROUTES[state][1:]:
            if deed == "claim":
                job = lifecycle.claim(connection, "cpu", "worker", 60) or job
            else:
                job = DEEDS[deed](connection, job)
    assert job.state is state
    return job


def event_types(database: Database, job: Job) -> list[str]:
    with database.reading() as connection:
        found = events.after(connection, job.id, 0, 1000)
    assert [event.id for event in found] == list(range(1, len(found) + 1))
    return [event.type for event in found]


@pytest.mark.parametrize("state", ROUTES)
def test_each_deed_leads_where_the_table_says_or_is_refused(database: Database, state: JobState) -> None:
    for deed, do in DEEDS.items():
        job = job_in(database, state)
        before = event_types(database, job)
        target = ALLOWED.get((deed, state))
        if target is None:
            with pytest.raises((IllegalTransition, Fenced)) as refusal, database.transaction() as connection:
                do(connection, job)
            if isinstance(refusal.value, IllegalTransition):
                assert refusal.value.state == state
            assert event_types(database, job) == before, deed
        else:
            with database.transaction() as connection:
                assert do(connection, job).state is target, deed
            told = len(event_types(database, job)) - len(before)
            assert told == (target is not state), "a change has one event, a repetition none"


@pytest.mark.parametrize("state", ROUTES)
def test_lease_worker_and_end_go_with_the_state(database: Database, state: JobState) -> None:
    job = job_in(database, state)
    assert (job.lease_until is not None) == (job.worker is not None) == (state in ACTIVE_STATES)
    assert (job.finished_at is not None) == (state in TERMINAL_STATES)


def test_a_claim_takes_the_oldest_job_of_its_queue(database: Database) -> None:
    with database.transaction() as connection:
        new_job(connection, queue="gpu")
        first, second = new_job(connection), new_job(connection)
    assert claimed(database).id == first.id
    assert claimed(database).id == second.id
    with database.transaction() as connection:
        assert lifecycle.claim(connection, "cpu", "worker", 60) is None


def test_nothing_changes_for_an_attempt_that_is_not_the_current_one(database: Database) -> None:
    with database.transaction() as connection:
        new_job(connection)
    zombie = claimed(database, "first")
    with database.transaction() as connection:
        lifecycle.lose(connection, zombie.id, 1, Loss.WORKER_LOST, "silence")
    job = claimed(database, "second")
    assert job.attempt == 2
    before = event_types(database, job)
    deeds: list[Callable[[Connection], object]] = [
        lambda c: succeed(c, zombie),
        lambda c: lifecycle.fail(c, zombie.id, 1, REASON),
        lambda c: lifecycle.requeue(c, zombie.id, 1),
        lambda c: lifecycle.lose(c, zombie.id, 1, Loss.STALLED, ""),
        lambda c: reporting.report_phase(c, zombie.id, 1, "load"),
        lambda c: reporting.report_progress(c, zombie.id, 1, step=1, total=2, eta_seconds=None),
        lambda c: reporting.report_metrics(c, zombie.id, 1, 1, {"loss": 1.0}),
        lambda c: reporting.report_warning(c, zombie.id, 1, "slow", "slow"),
        lambda c: reporting.report_checkpoint(c, zombie.id, 1, NewCheckpoint("01", "key", 1, "0")),
    ]
    for deed in deeds:
        with pytest.raises(Fenced), database.transaction() as connection:
            deed(connection)
    with database.transaction() as connection:
        assert lifecycle.renew_lease(connection, zombie.id, 1, 60) is Order.LET_GO
        assert lifecycle.order(connection, zombie.id, 1) is Order.LET_GO
        assert jobs.find(connection, job.id) == job
        assert models.find(connection, f"mdl_of_{job.id}") is None
    assert event_types(database, job) == before


def test_the_supervisor_learns_of_a_cancellation_when_it_renews(database: Database) -> None:
    job = job_in(database, JobState.RUNNING)
    with database.transaction() as connection:
        assert lifecycle.renew_lease(connection, job.id, 1, 600) is Order.GO_ON
        renewed = jobs.find(connection, job.id)
        assert renewed is not None
        assert renewed.lease_until is not None
        assert renewed.lease_until - database_now(connection) > timedelta(seconds=500)
        lifecycle.cancel(connection, job.id)
        assert lifecycle.renew_lease(connection, job.id, 1, 60) is Order.CANCEL
        assert lifecycle.order(connection, job.id, 1) is Order.CANCEL


def test_three_losses_in_a_row_are_a_failure(database: Database) -> None:
    job = job_in(database, JobState.QUEUED)
    for attempt in (1, 2, 3):
        claimed(database)
        with database.transaction() as connection:
            job = lifecycle.lose(connection, job.id, attempt, Loss.PROCESS_LOST, "signal 9 ended it")
    assert job.state is JobState.FAILED
    assert job.reason is not None
    assert job.reason["code"] == "worker_lost_repeatedly"
    assert "signal 9" in job.reason["message"]
    with database.transaction() as connection:
        assert lifecycle.retry(connection, job.id).lost_workers == 0


def test_a_checkpoint_ends_a_row_of_losses(database: Database) -> None:
    job = job_in(database, JobState.QUEUED)
    for attempt in (1, 2, 3, 4):
        claimed(database)
        with database.transaction() as connection:
            if attempt == 2:
                new = NewCheckpoint("01", "key", 1, "0")
                reporting.report_checkpoint(connection, job.id, attempt, new)
            job = lifecycle.lose(connection, job.id, attempt, Loss.WORKER_LOST, "silence")
        assert job.state is (JobState.FAILED if attempt == 4 else JobState.QUEUED)


def test_a_drain_is_not_counted(database: Database) -> None:
    job = job_in(database, JobState.QUEUED)
    for attempt in range(1, 6):
        claimed(database)
        with database.transaction() as connection:
            job = lifecycle.requeue(connection, job.id, attempt)
    assert (job.state, job.lost_workers) == (JobState.QUEUED, 0)


@pytest.mark.parametrize(
    ("state", "end"), [(JobState.RUNNING, JobState.QUEUED), (JobState.CANCELLING, JobState.CANCELLED)]
)
def test_only_an_expired_lease_is_swept(database: Database, state: JobState, end: JobState) -> None:
    lost, alive = job_in(database, state), job_in(database, JobState.RUNNING)
    with database.transaction() as connection:
        past = database_now(connection) - timedelta(seconds=1)
        connection.execute(update(Job).where(Job.id == lost.id).values(lease_until=past))
    with database.transaction() as connection:
        assert [(job.id, job.state) for job in lifecycle.expire_leases(connection)] == [(lost.id, end)]
        assert jobs.find(connection, alive.id) == alive


def test_success_shows_job_artifacts_and_model_together(database: Database) -> None:
    job = job_in(database, JobState.RUNNING)
    with database.transaction() as connection:
        reporting.report_checkpoint(connection, job.id, 1, NewCheckpoint("01", "key", 1, "0"))
    with suppress(ZeroDivisionError), database.transaction() as connection:
        succeed(connection, job)
        raise ZeroDivisionError
    with database.reading() as connection:
        assert artifacts.of_job(connection, job.id) == []
        assert models.find(connection, f"mdl_of_{job.id}") is None
    with database.transaction() as connection:
        job = succeed(connection, job)
    with database.reading() as connection:
        assert [artifact.name for artifact in artifacts.of_job(connection, job.id)] == ["report.json"]
        assert models.find(connection, job.result_model_id or "") is not None
        assert checkpoints.newest_first(connection, job.id) == []


def test_a_retry_goes_on_or_begins_again(database: Database) -> None:
    job = job_in(database, JobState.RUNNING)
    with database.transaction() as connection:
        reporting.report_metrics(connection, job.id, 1, 5, {"loss": 0.5})
        reporting.report_progress(connection, job.id, 1, step=5, total=10, eta_seconds=2.0)
        reporting.report_checkpoint(connection, job.id, 1, NewCheckpoint("01", "key", 1, "0"))
        lifecycle.fail(connection, job.id, 1, REASON)
        job = lifecycle.retry(connection, job.id)
        assert (job.reason, job.finished_at) == (None, None)
        assert lifecycle.retry(connection, job.id) == job, "repeated"
        assert len(checkpoints.newest_first(connection, job.id)) == 1
        assert metrics.series(connection, job.id) == {"loss": [(5, 0.5)]}
        lifecycle.cancel(connection, job.id)
        job = lifecycle.retry(connection, job.id, from_scratch=True)
        assert checkpoints.newest_first(connection, job.id) == []
        assert metrics.series(connection, job.id) == {}
        assert job.progress is None


def test_a_step_that_is_repeated_replaces_its_point(database: Database) -> None:
    job = job_in(database, JobState.RUNNING)
    with database.transaction() as connection:
        for loss in (1.0, 0.5):
            reporting.report_metrics(connection, job.id, 1, 7, {"loss": loss})
        reporting.report_metrics(connection, job.id, 1, 3, {"loss": 2.0, "eval.accuracy": 0.7})
        assert metrics.series(connection, job.id) == {
            "loss": [(3, 2.0), (7, 0.5)],
            "eval.accuracy": [(3, 0.7)],
        }


def test_two_checkpoints_are_kept(database: Database) -> None:
    job = job_in(database, JobState.RUNNING)
    with database.transaction() as connection:
        useless = [
            reporting.report_checkpoint(connection, job.id, 1, NewCheckpoint(str(n), f"key {n}", 1, "0"))
            for n in range(4)
        ]
        assert useless == [[], [], ["key 0"], ["key 1"]]
        kept = checkpoints.newest_first(connection, job.id)
        assert [checkpoint.key for checkpoint in kept] == ["key 3", "key 2"]


@pytest.mark.parametrize("state", ROUTES)
def test_what_an_unfinished_job_needs_is_not_deleted(database: Database, state: JobState) -> None:
    job = job_in(database, state)
    for remove, id in ((models.remove, MODEL_ID), (datasets.remove, DATASET_ID)):
        if state in TERMINAL_STATES:
            with database.transaction() as connection:
                remove(connection, id)
        else:
            with pytest.raises(InUse, match=job.id), database.transaction() as connection:
                remove(connection, id)


def test_a_job_needs_its_model_and_dataset(database: Database) -> None:
    with database.transaction() as connection:
        datasets.remove(connection, DATASET_ID)
    with pytest.raises(NotFound, match=DATASET_ID), database.transaction() as connection:
        new_job(connection)


def test_unknown_jobs_are_not_found(database: Database) -> None:
    for deed in (lifecycle.start, lifecycle.cancel, lifecycle.retry):
        with pytest.raises(NotFound), database.transaction() as connection:
            deed(connection, "job_0")


def test_workers_are_woken_after_the_commit_and_not_after_a_rollback(database_url: str) -> None:
    woken: list[str] = []
    database = Database(database_url, on_queued=woken.append)
    add_inputs(database)
    with suppress(ZeroDivisionError), database.transaction() as connection:
        new_job(connection)
        raise ZeroDivisionError
    with database.transaction() as connection:
        new_job(connection, auto_start=False)
        job = new_job(connection, queue="gpu")
        assert woken == []
    assert woken == ["gpu"]
    with database.transaction() as connection:
        assert lifecycle.hint_again(connection, older_than_seconds=60) == 0
    with database.transaction() as connection:
        past = database_now(connection) - timedelta(seconds=61)
        connection.execute(update(Job).where(Job.id == job.id).values(hinted_at=past))
        assert lifecycle.hint_again(connection, older_than_seconds=60) == 1
    assert woken == ["gpu", "gpu"]
    database.close()
