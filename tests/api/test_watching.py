import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.context import Context
from api.jobs import reader, watching
from db.models import Job
from tests.api.work import claim, fail, queue_job, report_metrics

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def job(client: TestClient, context: Context, checkpoint: Path) -> Job:
    """A running job with a few metrics."""
    queue_job(client, checkpoint)
    job = claim(context.database)
    report_metrics(context.database, job, 1, loss=0.7, replacing_rate=0.3)
    report_metrics(context.database, job, 2, loss=0.6, replacing_rate=0.5)
    return job


@pytest.fixture
def url(job: Job) -> str:
    return f"/v1/jobs/{job.id}"


def messages(text: str) -> Iterator[dict[str, str]]:
    """The messages of a stream, comments left out."""
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            yield fields


def test_events_come_in_pages(client: TestClient, url: str) -> None:
    first = client.get(f"{url}/events", params={"limit": 3}).json()
    assert [(event["id"], event["type"]) for event in first["data"]] == [
        (1, "created"),
        (2, "queued"),
        (3, "claimed"),
    ]
    assert first["has_more"] is True
    rest = client.get(f"{url}/events", params={"after": first["last_id"]}).json()
    assert [event["type"] for event in rest["data"]] == ["metric", "metric"]
    assert rest["data"][0]["data"] == {"step": 1, "values": {"loss": 0.7, "replacing_rate": 0.3}}
    assert rest["has_more"] is False
    nothing = client.get(f"{url}/events", params={"after": rest["last_id"]}).json()
    assert nothing == {"data": [], "has_more": False, "last_id": 5}


def test_a_stream_tells_everything_and_ends_with_the_job(
    client: TestClient, context: Context, job: Job, url: str
) -> None:
    fail(context.database, job)
    answer = client.get(f"{url}/events", headers=STREAM)
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = list(messages(answer.text))
    assert [int(message["id"]) for message in told] == [1, 2, 3, 4, 5, 6]
    assert told[-1]["event"] == "failed"
    pages = client.get(f"{url}/events").json()["data"]
    assert [json.loads(message["data"]) for message in told] == pages


def test_a_long_history_is_streamed_whole(
    client: TestClient, context: Context, job: Job, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "EVENTS_AT_ONCE", 2)
    fail(context.database, job)
    told = list(messages(client.get(f"{url}/events", headers=STREAM).text))
    assert [int(message["id"]) for message in told] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "how", [{"headers": {**STREAM, "Last-Event-ID": "5"}}, {"headers": STREAM, "params": {"after": 5}}]
)
def test_a_stream_is_taken_up_where_it_was_cut(
    client: TestClient, context: Context, job: Job, url: str, how: dict[str, Any]
) -> None:
    fail(context.database, job)
    told = list(messages(client.get(f"{url}/events", **how).text))
    assert [message["event"] for message in told] == ["failed"]


def test_a_silent_stream_shows_that_it_is_alive(
    client: TestClient, context: Context, job: Job, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "HEARTBEAT_SECONDS", 0.0)
    threading.Timer(1.2, fail, [context.database, job]).start()
    text = client.get(f"{url}/events", headers=STREAM).text
    assert 1 <= text.count(": alive\n\n") <= 5
    assert [message["event"] for message in messages(text)][-2:] == ["metric", "failed"]


def test_the_number_of_streams_is_bounded(
    client: TestClient, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MAX_STREAMS", 0)
    refused = client.get(f"{url}/events", headers=STREAM)
    assert refused.status_code == 429
    assert refused.json()["code"] == "too_many_streams"
    assert refused.headers["retry-after"]


def test_curves(client: TestClient, url: str) -> None:
    everything = client.get(f"{url}/metrics").json()["data"]
    assert everything == [
        {"name": "loss", "steps": [1, 2], "values": [0.7, 0.6]},
        {"name": "replacing_rate", "steps": [1, 2], "values": [0.3, 0.5]},
    ]
    part = client.get(f"{url}/metrics", params={"name": "loss", "after_step": 1}).json()["data"]
    assert part == [{"name": "loss", "steps": [2], "values": [0.6]}]
    assert client.get(f"{url}/metrics", params={"name": "a\0b"}).status_code == 422
