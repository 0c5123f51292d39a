from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.load import Load, download, poll, saturate, upload
from tests.api.serving import serving, uvicorn

Bare = tuple[psutil.Process, str]
PATHS = ["/v1/jobs/a", "/v1/jobs/b"]


@pytest.fixture(scope="module")
def bare() -> Iterator[Bare]:
    with uvicorn("benchmarks.bare:app", environment={}) as server:
        yield server


def test_a_saturated_server_answers_more_than_a_polled_one(bare: Bare) -> None:
    process, url = bare
    most = saturate(url, PATHS, "key", process, 0.5)
    steady = poll(url, PATHS, "key", process, 0.5, rate=100)
    assert most.requests_per_second > 2 * steady.requests_per_second
    assert steady.requests_per_second == 100
    assert len(steady.milliseconds) == 50
    assert 0 < steady.percentile(0.5) <= steady.percentile(0.99)


def test_percentiles() -> None:
    load = Load(1, 1, [1.0, 2.0, 3.0, 4.0])
    assert (load.percentile(0), load.percentile(0.5), load.percentile(0.99), load.percentile(1)) == (
        1,
        3,
        4,
        4,
    )


def test_a_wrong_answer_is_not_counted(bare: Bare) -> None:
    process, url = bare
    with pytest.raises(ConnectionError, match="404"):
        saturate(url, ["/nowhere"], "key", process, 0.1, connections=1)


def test_what_is_sent_comes_back(tmp_path: Path, sqlite_url: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("text,label\n" + "fine,good\n" * 20)
    with serving(tmp_path / "data", sqlite_url) as server:
        key = server.client.headers["authorization"].removeprefix("Bearer ")
        url = str(server.client.base_url)
        head = upload(url, "/v1/datasets", key, [("train", file), ("validation", file)])
        assert head.startswith("HTTP/1.1 201")
        listed = server.client.get("/v1/datasets")
        assert download(url, "/v1/datasets", key) > len(listed.content)
