"""Messages lost, repeated and late."""

import pytest

from core.hints import hint_sender
from db.models import JobState
from tests.faults.fleet import Dispatcher, Fleet, flush


@pytest.fixture
def dispatcher() -> Dispatcher:
    return "app"


def test_hints_that_come_ten_times_and_late_change_nothing(fleet: Fleet) -> None:
    service = fleet.service
    send = hint_sender(service.settings.redis_url)
    for _ in range(2):
        fleet.start_worker()
    jobs = [service.add_job(steps=5) for _ in range(5)]
    for _ in range(10):
        send("cpu")
    for job in jobs:
        service.wait_for_state(job.id, [JobState.SUCCEEDED])
    for _ in range(10):
        send("cpu")
    last = service.add_job()
    service.wait_for_state(last.id, [JobState.SUCCEEDED])
    assert [service.job(job.id).attempt for job in [*jobs, last]] == [1] * 6


def test_jobs_survive_the_loss_of_every_message(fleet: Fleet) -> None:
    service = fleet.service
    jobs = [service.add_job() for _ in range(3)]
    assert service.settings.redis_url is not None
    flush(service.settings.redis_url)
    fleet.start_worker()
    for job in jobs:
        assert service.wait_for_state(job.id, [JobState.SUCCEEDED]).attempt == 1
