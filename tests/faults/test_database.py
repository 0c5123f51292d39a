"""The database server away and back, in the middle of a job."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.models import JobState
from db.repositories import metrics
from tests.api.serving import Server, serving
from tests.faults.fleet import Dispatcher, Fleet
from tests.services import PostgresDatabases, PostgresServer, postgres_server

STEPS = 150


@pytest.fixture
def dispatcher() -> Dispatcher:
    return "app"


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """One of its own, as others would miss it."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    PostgresDatabases.on(postgres)
    return PostgresDatabases.url(postgres.url, "template")


@pytest.fixture
def server(postgres_url: str, tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "api", postgres_url) as server:
        yield server


def test_a_database_that_restarts_ends_a_job_once_and_the_api_says_so_meanwhile(
    fleet: Fleet, postgres: PostgresServer, server: Server
) -> None:
    service = fleet.service
    fleet.start_worker()
    job = service.add_job(steps=STEPS, seconds_per_step=0.03, checkpoint_every=20)
    service.wait_for_event(job.id, "metric")
    postgres.stop()
    refused = server.client.get(f"/v1/jobs/{job.id}")
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert int(refused.headers["retry-after"]) > 0
    time.sleep(1)
    postgres.start()
    service.database.close()  # the test's own connections are gone as well
    service.wait_for_state(job.id, [JobState.SUCCEEDED])
    assert len(service.events(job.id, "succeeded")) == 1
    with service.database.reading() as connection:
        assert len(metrics.series(connection, job.id)["loss"]) == STEPS
    assert server.client.get(f"/v1/jobs/{job.id}").json()["state"] == "succeeded"
    assert all(process.poll() is None for process in fleet.processes), "worker and sweeper live on"
