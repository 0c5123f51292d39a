import time
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from api.context import Context
from api.keys import service
from api.keys.__main__ import app as command
from core.settings import Settings
from db.repositories import api_keys

UNKNOWN = "0" * 32


def operations(client: TestClient) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Method, path and description of every operation in the document."""
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def filled(path: str) -> str:
    kinds = {"model_id": "mdl", "dataset_id": "ds", "job_id": "job"}
    for parameter, kind in kinds.items():
        path = path.replace(f"{{{parameter}}}", f"{kind}_{UNKNOWN}")
    return path.replace("{name}", "unknown")


@pytest.mark.parametrize(
    "credentials", [None, "Bearer", "Bearer pw_wrong", f"Bearer pw_{'A' * 43}", "Basic cHc6cHc="]
)
def test_every_route_of_the_contract_needs_a_key(shared_client: TestClient, credentials: str | None) -> None:
    headers = {"Authorization": credentials} if credentials else {}
    with TestClient(shared_client.app) as anonymous:
        checked = 0
        for method, path, _ in operations(shared_client):
            answer = anonymous.request(method, filled(path), headers=headers)
            if path.startswith("/v1/"):
                checked += 1
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"] == "Bearer"
            else:
                assert answer.status_code == 200, (method, path)
    assert checked > 20


def test_every_route_with_an_unknown_id_is_404(shared_client: TestClient) -> None:
    checked = 0
    for method, path, _ in operations(shared_client):
        if "{" in path:
            checked += 1
            answer = shared_client.request(method, filled(path))
            assert answer.status_code == 404, (method, path, answer.text)
            assert method == "head" or answer.json()["code"] == "not_found"
    assert checked > 15


@pytest.mark.parametrize(
    "path", ["//v1/jobs", "/v1//jobs", "/V1/jobs", "/v1/jobs/", "/v1/%6aobs", "/livez/../v1/jobs"]
)
def test_no_spelling_of_a_path_goes_round_the_key(shared_client: TestClient, path: str) -> None:
    with TestClient(shared_client.app) as anonymous:
        answer = anonymous.get(path, headers={"Host": "livez"})
    assert answer.status_code in (401, 404)


def test_a_revoked_key_is_worthless_within_seconds(
    client: TestClient, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert service.TRUSTED_SECONDS <= 5
    monkeypatch.setattr(service, "TRUSTED_SECONDS", 0.2)
    assert client.get("/v1/methods").status_code == 200
    with context.database.transaction() as connection:
        (key,) = api_keys.all_of_them(connection)
        assert key.last_used_at is not None
        api_keys.revoke(connection, key.id)
    time.sleep(0.3)
    assert client.get("/v1/methods").status_code == 401


def test_the_prefix_alone_opens_nothing(client: TestClient, key: str) -> None:
    forged = key[: service.PREFIX_LENGTH] + "A" * (len(key) - service.PREFIX_LENGTH)
    assert client.get("/v1/methods", headers={"Authorization": f"Bearer {forged}"}).status_code == 401


def test_the_key_itself_is_not_stored(context: Context, key: str) -> None:
    with context.database.reading() as connection:
        (row,) = api_keys.all_of_them(connection)
    secret = key[service.PREFIX_LENGTH :]
    assert secret not in str(row)
    assert row.prefix in str(row)


def test_the_command_makes_lists_and_revokes_keys(
    settings: Settings, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.database is not None
    monkeypatch.setenv("PLANKWRIGHT_DATABASE", settings.database.get_secret_value())
    run = CliRunner().invoke
    key = run(command, ["create", "anne"]).stdout.strip()
    assert client.get("/v1/methods", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    listed = run(command, ["list"]).stdout
    assert "anne" in listed
    assert key not in listed
    id = next(line.split()[0] for line in listed.splitlines() if "anne" in line)
    assert run(command, ["revoke", id]).exit_code == 0
    assert "revoked" in run(command, ["list"]).stdout
    assert run(command, ["revoke", "key_unknown"]).exit_code != 0
