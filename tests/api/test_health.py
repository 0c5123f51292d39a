from datetime import timedelta
from pathlib import Path

from sqlalchemy import update
from starlette.testclient import TestClient

from api.context import Context
from db.clock import database_now
from db.models import Job
from tests.api.work import claim, queue_job


def test_a_service_that_can_work_is_ready(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"ready": True, "failing": {}}


def test_the_part_that_fails_is_named(shared_client: TestClient) -> None:
    context: Context = shared_client.app.state.context  # type: ignore[attr-defined]
    folder = context.settings.storage
    folder.rename(folder.with_name("away"))
    try:
        answer = shared_client.get("/readyz")
    finally:
        folder.with_name("away").rename(folder)
    assert answer.status_code == 503
    assert list(answer.json()["failing"]) == ["storage"]
    assert shared_client.get("/readyz").status_code == 200


def test_requests_and_jobs_are_counted(client: TestClient, context: Context, checkpoint: Path) -> None:
    queue_job(client, checkpoint)
    queue_job(client, checkpoint)
    job = claim(context.database)
    for _ in range(3):
        client.get(f"/v1/jobs/{job.id}")
    client.get("/nowhere")
    text = client.get("/metrics").text
    assert 'plankwright_http_requests_total{operation="get_job",status="200"} 3.0' in text
    assert 'plankwright_http_requests_total{operation="unmatched",status="404"} 1.0' in text
    assert 'plankwright_http_request_seconds_count{operation="get_job"} 3.0' in text
    assert 'plankwright_jobs{state="queued"} 1.0' in text
    assert 'plankwright_jobs{state="running"} 1.0' in text
    assert "plankwright_running_jobs_without_lease 0.0" in text


def test_a_running_job_without_lease_is_seen(client: TestClient, context: Context, checkpoint: Path) -> None:
    queue_job(client, checkpoint)
    job = claim(context.database)
    with context.database.transaction() as connection:
        past = database_now(connection) - timedelta(seconds=1)
        connection.execute(update(Job).where(Job.id == job.id).values(lease_until=past))
    assert "plankwright_running_jobs_without_lease 1.0" in client.get("/metrics").text
