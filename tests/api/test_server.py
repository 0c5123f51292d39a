"""What only a real server process shows: streams, waiting, clients that go away, memory."""

import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from db import lifecycle
from tests.api.large import enlarge
from tests.api.requests import csv_rows, stored
from tests.api.serving import Server, serving
from tests.api.work import queue_job
from tests.services import PostgresDatabases

pytestmark = pytest.mark.serial

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def server(
    postgres_databases: PostgresDatabases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with postgres_databases.new() as url, serving(tmp_path_factory.mktemp("server"), url) as server:
        yield server


def cancel_later(server: Server, job_id: str, seconds: float) -> None:
    def cancel() -> None:
        with server.database.transaction() as connection:
            lifecycle.cancel(connection, job_id)

    threading.Timer(seconds, cancel).start()


def test_a_wait_ends_with_the_job(server: Server, checkpoint: Path) -> None:
    job_id = queue_job(server.client, checkpoint)
    cancel_later(server, job_id, 1)
    began = time.monotonic()
    answer = server.client.get(f"/v1/jobs/{job_id}", headers={"Prefer": "respond-async, wait=30"})
    assert 0.9 < time.monotonic() - began < 4
    assert answer.headers["preference-applied"] == "wait=30"
    assert answer.json()["state"] == "cancelled"
    assert server.client.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=30"}).elapsed.total_seconds() < 1


def test_a_wait_ends_with_its_time(server: Server, checkpoint: Path) -> None:
    job_id = queue_job(server.client, checkpoint)
    began = time.monotonic()
    answer = server.client.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=1"})
    assert 0.9 < time.monotonic() - began < 4
    assert answer.json()["state"] == "queued"


def test_those_who_wait_do_not_keep_others_waiting(server: Server, checkpoint: Path) -> None:
    job_id = queue_job(server.client, checkpoint)
    with ThreadPoolExecutor(80) as pool:
        waiting = [
            pool.submit(server.client.get, f"/v1/jobs/{job_id}", headers={"Prefer": "wait=60"})
            for _ in range(80)
        ]
        time.sleep(1)
        for url in ("/v1/jobs", f"/v1/jobs/{job_id}", "/v1/models"):
            began = time.monotonic()
            assert (
                httpx2.get(f"{server.client.base_url}{url}", headers=server.client.headers).status_code == 200
            )
            assert time.monotonic() - began < 2
        cancel_later(server, job_id, 0)
        assert {answer.result().json()["state"] for answer in waiting} == {"cancelled"}


def test_a_stream_brings_events_as_they_happen(server: Server, checkpoint: Path) -> None:
    job_id = queue_job(server.client, checkpoint, auto_start=False)
    began = time.monotonic()
    threading.Timer(1, server.client.post, [f"/v1/jobs/{job_id}/start"]).start()
    cancel_later(server, job_id, 2.5)
    url = f"/v1/jobs/{job_id}/events"
    with server.client.stream("GET", url, headers={"Accept": "text/event-stream"}) as stream:
        told = [
            (line.removeprefix("event: "), time.monotonic() - began)
            for line in stream.iter_lines()
            if line.startswith("event: ")
        ]
    assert [event for event, _ in told] == ["created", "queued", "cancelled"]
    assert told[0][1] < 1
    assert 1 <= told[1][1] < 2.5
    assert 2.5 <= told[2][1] < 5


def test_streams_of_clients_that_left_are_closed(server: Server, checkpoint: Path) -> None:
    job_id = queue_job(server.client, checkpoint)

    def open_streams() -> int:
        line = next(
            line
            for line in server.client.get("/metrics").text.splitlines()
            if line.startswith("plankwright_event_streams ")
        )
        return int(float(line.split()[1]))

    url = f"/v1/jobs/{job_id}/events"
    for _ in range(3):
        with server.client.stream("GET", url, headers={"Accept": "text/event-stream"}) as stream:
            lines = stream.iter_lines()
            next(lines)
            assert open_streams() >= 1
    deadline = time.monotonic() + 10
    while open_streams() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert open_streams() == 0


def test_an_upload_that_is_cut_leaves_nothing(server: Server) -> None:
    before = stored(server.settings)
    authorization = server.client.headers["authorization"]
    head = (
        "POST /v1/models HTTP/1.1\r\nHost: test\r\nContent-Length: 999999999\r\n"
        f"Authorization: {authorization}\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.tar"\r\n\r\n'
    )
    with socket.create_connection(
        (server.client.base_url.host, server.client.base_url.port or 80)
    ) as connection:
        connection.sendall(head.encode() + bytes(8 * MEBIBYTE))
        deadline = time.monotonic() + 10
        while stored(server.settings) == before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert stored(server.settings) != before, "the upload was not under way"
    while stored(server.settings) != before and time.monotonic() < deadline + 10:
        time.sleep(0.05)
    assert stored(server.settings) == before
    assert server.client.get("/livez").status_code == 200


@pytest.mark.parametrize("form", ["tar", "files"])
def test_a_large_upload_needs_little_memory(
    server: Server, checkpoint: Path, tmp_path: Path, form: str
) -> None:
    folder = enlarge(checkpoint, tmp_path / "large", 256 * MEBIBYTE)
    peak = before = server.process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, server.process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        if form == "tar":
            with tarfile.open(tmp_path / "large.tar", "w") as archive:
                archive.add(folder, "large")
            with (tmp_path / "large.tar").open("rb") as file:
                answer = server.client.post("/v1/models", files={"file": ("large.tar", file)})
        else:
            opened = [("files", (path.name, path.open("rb"))) for path in folder.iterdir()]
            answer = server.client.post("/v1/models", files=opened)
    finally:
        done.set()
        watcher.join()
    assert answer.status_code == 201, answer.text
    assert answer.json()["bytes"] > 256 * MEBIBYTE
    assert peak - before < 64 * MEBIBYTE
    assert server.client.delete(f"/v1/models/{answer.json()['id']}").status_code == 204


def test_the_process_stays_small_and_without_torch(server: Server, checkpoint: Path) -> None:
    queue_job(server.client, checkpoint)
    rows = [("train", ("train.csv", csv_rows(100_000)))]
    assert server.client.post("/v1/datasets", files=rows).status_code == 201
    mapped = {mapping.path for mapping in server.process.memory_maps()}
    assert not [path for path in mapped if "/torch/" in path]
    assert server.process.memory_info().rss < 200 * MEBIBYTE, server.process.memory_info()


def test_nothing_imports_torch_or_transformers() -> None:
    script = (
        "import sys; from api.app import create_app; import api.keys.__main__, api.openapi;"
        "print([name for name in ('torch', 'transformers', 'sklearn', 'scipy') if name in sys.modules])"
    )
    loaded = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert loaded.strip() == "[]"
