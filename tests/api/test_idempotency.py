from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from api.context import Context
from api.keys.service import create_key
from tests.api.requests import codes, job_request, send_dataset, send_model, stored

KEY = {"Idempotency-Key": "3f1c"}


def test_a_repeated_request_gets_the_first_answer(client: TestClient, checkpoint: Path) -> None:
    body = job_request(client, checkpoint)
    first = client.post("/v1/jobs", json=body, headers=KEY)
    client.post(f"/v1/jobs/{first.json()['id']}/cancel")
    again = client.post("/v1/jobs", json=body, headers=KEY)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert len(client.get("/v1/jobs").json()["data"]) == 1


def test_a_key_belongs_to_one_request(client: TestClient, context: Context, checkpoint: Path) -> None:
    body = job_request(client, checkpoint)
    client.post("/v1/jobs", json=body, headers=KEY)
    other = client.post("/v1/jobs", json=body | {"seed": 1}, headers=KEY)
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_key_reused"
    assert len(client.get("/v1/jobs").json()["data"]) == 1
    # to another user and another route it means nothing
    stranger = {**KEY, "Authorization": f"Bearer {create_key(context.database, 'other')}"}
    assert client.post("/v1/jobs", json=body, headers=stranger).status_code == 201
    assert send_dataset(client, headers=KEY).status_code == 201


def test_a_refused_request_does_not_use_the_key_up(client: TestClient, checkpoint: Path) -> None:
    body = job_request(client, checkpoint)
    assert client.post("/v1/jobs", json=body | {"model": "mdl_" + "0" * 32}, headers=KEY).status_code == 422
    assert client.post("/v1/jobs", json=body, headers=KEY).status_code == 201


def test_duplicates_at_the_same_time_create_one_job(client: TestClient, checkpoint: Path) -> None:
    body = job_request(client, checkpoint)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/jobs", json=body, headers=KEY), range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len(client.get("/v1/jobs").json()["data"]) == 1


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_a_repeated_upload_leaves_nothing_more(
    client: TestClient, context: Context, checkpoint: Path, kind: str
) -> None:
    def send() -> Response:
        if kind == "model":
            return send_model(client, checkpoint, headers=KEY)
        return send_dataset(client, headers=KEY)

    first = send()
    before = stored(context.settings)
    again = send()
    assert (again.status_code, again.json()) == (201, first.json())
    assert stored(context.settings) == before


def test_a_bad_key_is_refused(client: TestClient) -> None:
    answer = send_dataset(client, headers={"Idempotency-Key": "x" * 300})
    assert answer.status_code == 422
    assert codes(answer) == ["string_pattern_mismatch"]
