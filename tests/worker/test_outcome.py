"""Errors of the worker itself become reasons that somebody can act on."""

import errno

import pytest

from db import lifecycle
from db.models import Job, JobState
from tests.worker.service import Service
from worker.outcome import outcome_of, outcome_of_error
from worker.supervisor import Ended, Stop


@pytest.fixture
def job(service: Service) -> Job:
    service.add_job()
    with service.database.transaction() as connection:
        job = lifecycle.claim(connection, "cpu", "worker", 60)
    assert job is not None
    return job


def test_a_full_disk_is_a_lack_of_capacity(service: Service, job: Job) -> None:
    error = OSError(errno.ENOSPC, "No space left on device")
    with service.database.transaction() as connection:
        failed = outcome_of_error(error, job)(connection)
    assert failed.state is JobState.FAILED
    assert failed.reason is not None
    assert (failed.reason["code"], failed.reason["class"]) == ("storage_full", "capacity")


def test_an_error_that_nobody_foresaw_is_tried_again(service: Service, job: Job) -> None:
    with service.database.transaction() as connection:
        again = outcome_of_error(MemoryError(), job)(connection)
    assert (again.state, again.lost_workers) == (JobState.QUEUED, 1)
    assert "MemoryError" in service.events(job.id, "requeued")[0].message


def test_a_cancellation_wins_over_the_way_the_process_ended(service: Service, job: Job) -> None:
    with service.database.transaction() as connection:
        lifecycle.cancel(connection, job.id)
        ended = outcome_of(Ended(-9, stop=Stop.CANCEL), job)(connection)
    assert ended.state is JobState.CANCELLED
