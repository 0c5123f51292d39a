import pytest
from fastapi import FastAPI
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from api.errors import json_pointer
from api.json_body import MAX_BYTES
from api.problems import Code
from tests.api.requests import context_of

JSON = {"Content-Type": "application/json"}


def test_codes_are_unique() -> None:
    assert len({code.code for code in Code}) == len(Code)


BODIES: dict[str, tuple[bytes, int, str]] = {
    "cut": (b'{"steps": [', 400, "malformed_request"),
    "not UTF-8": (b'{"name": "\xff"}', 400, "malformed_request"),
    "NaN": (b'{"seed": NaN}', 400, "malformed_request"),
    "the same field twice": (b'{"seed": 1, "seed": 2}', 400, "malformed_request"),
    "too deep": (b'{"steps":' + b"[" * 200_000 + b"]" * 200_000 + b"}", 400, "malformed_request"),
    "a number of 5,000 digits": (b'{"seed": ' + b"9" * 5000 + b"}", 400, "malformed_request"),
    "NUL": (rb'{"name": "a\u0000b"}', 400, "malformed_request"),
    "half a character": (rb'{"name": "a\ud800b"}', 422, "invalid_request"),
    "an array": (b"[]", 400, "malformed_request"),
    "nothing": (b"", 422, "invalid_request"),
    "too large": (b'{"name": "' + b"a" * MAX_BYTES + b'"}', 413, "too_large"),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_is_no_request_is_refused(shared_client: TestClient, case: str) -> None:
    content, status, code = BODIES[case]
    answer = shared_client.post("/v1/jobs", content=content, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_backslash_before_u0000_is_no_nul(shared_client: TestClient) -> None:
    answer = shared_client.post("/v1/jobs", content=rb'{"name": "a\\u0000b"}', headers=JSON)
    assert answer.status_code == 422


def test_the_type_of_the_body_matters(shared_client: TestClient) -> None:
    for url, content_type in (("/v1/jobs", "text/plain"), ("/v1/models", "application/json")):
        answer = shared_client.post(url, content=b"{}", headers={"Content-Type": content_type})
        assert answer.status_code == 415
        assert answer.json()["code"] == "unsupported_media_type"


def test_unknown_paths_and_methods_are_problems(shared_client: TestClient) -> None:
    absent = shared_client.get("/v2/jobs")
    assert (absent.status_code, absent.json()["code"]) == (404, "not_found")
    forbidden = shared_client.put("/v1/jobs")
    assert (forbidden.status_code, forbidden.json()["code"]) == (405, "method_not_allowed")
    assert forbidden.headers["allow"]


def test_a_failure_says_nothing_of_its_cause(app: FastAPI, key: str) -> None:
    @app.get("/fail")
    def fail() -> None:
        raise ValueError("the password is hunter2")

    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/fail", headers={"X-Request-Id": "my-request"})
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal"
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "my-request"
    assert "hunter2" not in answer.text


def test_a_database_that_is_away_is_said(shared_client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable() -> None:
        raise OperationalError("SELECT secret", {}, Exception("connection refused"))

    monkeypatch.setattr(context_of(shared_client).database, "reading", unreachable)
    for url in ("/v1/models", "/v1/jobs/job_" + "0" * 32, "/metrics"):
        answer = shared_client.get(url)
        assert answer.status_code == 503
        assert answer.json()["code"] == "unavailable"
        assert int(answer.headers["retry-after"]) > 0
        assert "SELECT" not in answer.text


@pytest.mark.parametrize("given", ["a b", "ü", "x" * 200, "", "<script>"])
def test_only_harmless_request_ids_are_taken_over(shared_client: TestClient, given: str) -> None:
    answer = shared_client.get("/livez", headers=[(b"X-Request-Id", given.encode())])
    assert answer.headers["x-request-id"] != given
    assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("location", "missing", "pointer"),
    [
        (["steps", 0, "theseus", "schedule", "linear", "full_at"], False, "/steps/0/schedule/full_at"),
        (["steps", 0, "theseus"], False, "/steps/0"),
        (["steps", 0, "theseus", "modules"], True, "/steps/0/modules"),
        (["a/b~c"], False, "/a~1b~0c"),
        ([], False, ""),
    ],
)
def test_pointers_leave_out_the_members_of_unions(
    location: list[str | int], missing: bool, pointer: str
) -> None:
    body = {"steps": [{"method": "theseus", "schedule": {"type": "linear", "full_at": 2}}], "a/b~c": 1}
    assert json_pointer(location, body, missing=missing) == pointer
