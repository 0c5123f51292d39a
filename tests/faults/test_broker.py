"""Messages lost, repeated and late, and a broker that is away."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from core.hints import hint_sender
from db.models import JobState
from tests.faults.fleet import ROOT, Dispatcher, Fleet, environment_of, flush
from tests.services import RedisServer, redis_server


@pytest.fixture
def dispatcher() -> Dispatcher:
    return "app"


@pytest.fixture
def broker() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def redis_url(broker: RedisServer) -> str:
    return broker.url


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


def test_jobs_run_and_are_accepted_while_the_broker_is_away(fleet: Fleet, broker: RedisServer) -> None:
    service = fleet.service
    fleet.start_worker()
    running = service.add_job(steps=100, seconds_per_step=0.02)
    service.wait_for_event(running.id, "claimed")
    broker.stop()
    began = time.monotonic()
    accepted = service.add_job()
    assert time.monotonic() - began < 3
    service.wait_for_state(running.id, [JobState.SUCCEEDED])
    broker.start()
    late = service.add_job()
    for job in (running, accepted, late):
        assert service.wait_for_state(job.id, [JobState.SUCCEEDED]).attempt == 1


def test_a_worker_that_no_hint_reaches_ends_to_be_started_anew(fleet: Fleet, broker: RedisServer) -> None:
    fleet.service.add_job()
    broker.stop()
    program = (
        "from tests.worker.service import STAND_IN; import worker.app as app;"
        "app.WATCH_SECONDS, app.DEAF_SECONDS = 0.2, 1; app.main(STAND_IN)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | environment_of(fleet.service.settings),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert b'"deaf"' in done.stderr
