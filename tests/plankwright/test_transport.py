import json
from pathlib import Path

import pytest

from plankwright.errors import PlankwrightError, Problem, ServerUnreachable
from plankwright.transport import ATTEMPTS, Transport, Upload
from tests.plankwright.scripted import Answer, Asked, scripted_server
from tests.services import free_port

PROBLEM = {
    "type": "urn:plankwright:problem:invalid_request",
    "title": "no",
    "status": 422,
    "detail": "/steps/0: wrong.",
    "code": "invalid_request",
    "errors": [{"pointer": "/steps/0", "code": "unknown_field", "message": "wrong"}],
    "request_id": "r1",
}


def test_a_problem_becomes_an_error_with_all_of_it() -> None:
    body = json.dumps(PROBLEM).encode()
    with (
        scripted_server(lambda asked: Answer(422, body)) as server,
        pytest.raises(PlankwrightError) as caught,
    ):
        Transport(server.url, "k").request("GET", "/v1/jobs")
    error = caught.value
    assert (error.code, error.message, error.status) == ("invalid_request", "/steps/0: wrong.", 422)
    assert (error.problems, error.request_id) == ([Problem("/steps/0", "unknown_field", "wrong")], "r1")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"detail": "x"}'])
def test_another_servers_error_is_told_from_ours(body: bytes) -> None:
    with (
        scripted_server(lambda asked: Answer(404, body)) as server,
        pytest.raises(PlankwrightError) as caught,
    ):
        Transport(server.url, "k").request("GET", "/")
    assert caught.value.code == "unexpected_answer"


def test_a_post_is_repeated_under_the_same_key_until_it_is_answered() -> None:
    states = iter([503, 502, 201])
    with scripted_server(lambda asked: Answer(next(states))) as server:
        transport = Transport(server.url, "k")
        assert transport.request("POST", "/v1/jobs", json={"a": 1}).status_code == 201
    keys = {asked.headers["Idempotency-Key"] for asked in server.asked}
    assert len(server.asked) == 3
    assert len(keys) == 1
    assert {asked.body for asked in server.asked} == {b'{"a":1}'}


def test_two_requests_have_two_keys() -> None:
    with scripted_server(lambda asked: Answer()) as server:
        transport = Transport(server.url, "k")
        transport.request("POST", "/v1/jobs")
        transport.request("POST", "/v1/jobs")
    first, second = server.asked
    assert first.headers["Idempotency-Key"] != second.headers["Idempotency-Key"]
    assert first.headers["Authorization"] == "Bearer k"


def test_a_server_that_stays_away_is_given_up() -> None:
    busy = json.dumps(PROBLEM | {"code": "unavailable"}).encode()
    with scripted_server(lambda asked: Answer(503, busy, {"Retry-After": "0"})) as server:
        with pytest.raises(PlankwrightError) as caught:
            Transport(server.url, "k").request("GET", "/v1/jobs")
        assert caught.value.code == "unavailable"
        assert len(server.asked) == ATTEMPTS
    with pytest.raises(ServerUnreachable, match="cannot be reached"):
        Transport(f"http://127.0.0.1:{free_port()}", "k").request("GET", "/v1/jobs")


def test_an_upload_that_broke_is_sent_again_from_its_beginning(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    told: list[tuple[int, int]] = []

    def answer(asked: Asked) -> Answer:
        return Answer(503 if len(server.asked) == 1 else 201)

    with scripted_server(answer) as server:
        upload = Upload([("files", file)], {"name": "m"}, lambda done, total: told.append((done, total)))
        Transport(server.url, "k").request("POST", "/v1/models", upload=upload)
    for asked in server.asked:
        assert content in asked.body
        assert b'name="name"\r\n\r\nm' in asked.body
        assert b'filename="model.safetensors"' in asked.body
    assert told[-1] == (len(content), len(content))
    assert {total for _, total in told} == {len(content)}
