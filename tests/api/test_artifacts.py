import base64
import hashlib
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api import streaming
from api.context import Context
from tests.api.requests import context_of
from tests.api.work import claim, queue_job, succeed

CONTENT = bytes(range(256)) * 10
FILES = {"model.bin": CONTENT, "report.json": b'{"version": 1}'}
ETAG = f'"{hashlib.sha256(CONTENT).hexdigest()}"'


def test_the_files_of_a_job_are_listed_and_downloaded(
    client: TestClient, context: Context, checkpoint: Path, tmp_path: Path
) -> None:
    url = f"/v1/jobs/{queue_job(client, checkpoint)}"
    succeed(context.database, context.storage, claim(context.database), FILES, tmp_path)
    listed = client.get(f"{url}/artifacts").json()["data"]
    assert [(file["name"], file["size"]) for file in listed] == [("model.bin", 2560), ("report.json", 14)]
    assert listed[0]["sha256"] == ETAG.strip('"')
    assert client.get(f"{url}/artifacts/model.bin").content == CONTENT
    assert client.get(f"{url}/report").json() == {"version": 1}
    job = client.get(url).json()
    assert (job["state"], job["verdict"], job["result"]["retention"]) == ("succeeded", "met", 0.98)
    assert job["result_model"] == "mdl_" + "a" * 32


@pytest.fixture(scope="module")
def url(shared_client: TestClient, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a job that has succeeded."""
    job_id = queue_job(shared_client, checkpoint)
    context = context_of(shared_client)
    succeed(
        context.database, context.storage, claim(context.database), FILES, tmp_path_factory.mktemp("files")
    )
    return f"/v1/jobs/{job_id}"


def test_a_file_comes_with_its_digest(shared_client: TestClient, url: str) -> None:
    answer = shared_client.get(f"{url}/artifacts/model.bin")
    assert answer.content == CONTENT
    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert answer.headers["etag"] == ETAG
    assert answer.headers["content-disposition"] == 'attachment; filename="model.bin"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    head = shared_client.head(f"{url}/artifacts/model.bin")
    assert head.content == b""
    assert head.headers["content-length"] == "2560"
    assert head.headers["etag"] == ETAG


@pytest.mark.parametrize("chunk", [7, 1 << 20])
@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("0-9", 0, 10),
        ("2550-", 2550, 2560),
        ("-5", 2555, 2560),
        ("100-99999", 100, 2560),
        ("-99999", 0, 2560),
    ],
)
def test_a_range_is_answered_exactly(
    shared_client: TestClient,
    url: str,
    asked: str,
    start: int,
    end: int,
    chunk: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streaming, "CHUNK_BYTES", chunk)
    answer = shared_client.get(f"{url}/artifacts/model.bin", headers={"Range": f"bytes={asked}"})
    assert answer.status_code == 206
    assert answer.content == CONTENT[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/2560"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,5-6", "bytes=5-1", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=" + "0-" * 9]
)
def test_what_is_no_single_range_is_answered_by_the_whole_file(
    shared_client: TestClient, url: str, asked: str
) -> None:
    answer = shared_client.get(f"{url}/artifacts/model.bin", headers={"Range": asked})
    assert answer.status_code == 200
    assert answer.content == CONTENT


@pytest.mark.parametrize("asked", ["2560-", "9999-10000", "-0"])
def test_a_range_outside_the_file_is_refused(shared_client: TestClient, url: str, asked: str) -> None:
    answer = shared_client.get(f"{url}/artifacts/model.bin", headers={"Range": f"bytes={asked}"})
    assert answer.status_code == 416
    assert answer.json()["code"] == "range_not_satisfiable"
    assert answer.headers["content-range"] == "bytes */2560"


def test_conditions(shared_client: TestClient, url: str) -> None:
    def get(**headers: str) -> tuple[int, int]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = shared_client.get(f"{url}/artifacts/model.bin", headers=named)
        return answer.status_code, len(answer.content)

    assert get(if_none_match=ETAG) == (304, 0)
    assert get(if_none_match=f"W/{ETAG}") == (304, 0)
    assert get(if_none_match="*") == (304, 0)
    assert get(if_none_match='"other"') == (200, 2560)
    assert get(if_range=ETAG, range="bytes=0-9") == (206, 10)
    assert get(if_range='"other"', range="bytes=0-9") == (200, 2560)


def test_what_is_not_there_yet_is_said(client: TestClient, checkpoint: Path) -> None:
    url = f"/v1/jobs/{queue_job(client, checkpoint)}"
    for path in ("report", "artifacts/model.tar"):
        answer = client.get(f"{url}/{path}")
        assert answer.status_code == 404
        assert answer.json()["state"] == "queued"
    assert client.get(f"{url}/artifacts").json()["data"] == []


@pytest.mark.parametrize("name", ["%2e%2e", "..%2Freport.json", "%00", "a b", "report.json%0a"])
def test_no_name_leads_out_of_the_job(shared_client: TestClient, url: str, name: str) -> None:
    assert shared_client.get(f"{url}/artifacts/{name}").status_code in (404, 422)


def test_the_log_can_be_read_while_it_grows(client: TestClient, context: Context, checkpoint: Path) -> None:
    job_id = queue_job(client, checkpoint)
    url = f"/v1/jobs/{job_id}/logs"
    assert client.get(url).text == ""
    path = context.storage.path(f"jobs/{job_id}/logs.txt")
    path.parent.mkdir(parents=True)
    path.write_text("eins\n")
    whole = client.get(url)
    assert whole.text == "eins\n"
    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    with path.open("a") as log:
        log.write("zwei\n")
    assert client.get(url, headers={"Range": "bytes=5-"}).text == "zwei\n"
    assert client.get(url, headers={"Range": "bytes=10-"}).status_code == 416
