import errno
import hashlib
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.context import Context
from plankwright.transport import Upload
from tests.api.requests import (
    Files,
    codes,
    context_of,
    files_of,
    job_request,
    send_model,
    stored,
    tar_of,
    zip_of,
)
from tests.api.work import claim, fail
from tests.checkpoints import make_tiny_checkpoint


@pytest.mark.parametrize(
    "form",
    [
        lambda folder: [("file", ("model.zip", zip_of(folder)))],
        lambda folder: [("file", ("model.tar", tar_of(folder)))],
        lambda folder: [("file", ("model.tar.gz", tar_of(folder, compress=True)))],
        files_of,
    ],
    ids=["zip", "tar", "tar.gz", "files"],
)
def test_a_checkpoint_is_stored_and_described(
    client: TestClient, context: Context, checkpoint: Path, form: Callable[[Path], Files]
) -> None:
    answer = client.post("/v1/models", files=form(checkpoint), data={"name": "tiny"})
    assert answer.status_code == 201, answer.text
    model = answer.json()
    assert answer.headers["location"] == f"/v1/models/{model['id']}"
    assert model["name"] == "tiny"
    assert model["facts"]["architecture"] == "bert"
    assert model["facts"]["layers"] == 4
    assert model["facts"]["labels"] == ["negative", "positive"]
    for file in model["files"]:
        content = (checkpoint / file["name"]).read_bytes()
        kept = context.storage.path(f"models/{model['id']}/{file['name']}").read_bytes()
        assert kept == content
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {file["name"] for file in model["files"]}
    assert client.get(answer.headers["location"]).json() == model
    assert len(stored(context.settings)) == len(model["files"])


def test_the_folder_of_an_encoder_of_sentences_comes_as_files_too(
    client: TestClient, context: Context, tmp_path: Path
) -> None:
    folder = make_tiny_checkpoint(tmp_path / "m", task="sentence-similarity")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    with ExitStack() as stack:
        upload = Upload([("files", folder / name) for name in names], {}, lambda done, total: None, folder)
        answer = client.post("/v1/models", files=stack.enter_context(upload.opened()))
    assert answer.status_code == 201, answer.text
    assert answer.json()["facts"]["sentence"] == {"pooling": "mean", "normalize": True, "max_length": 64}
    kept = context.storage.path(f"models/{answer.json()['id']}/1_Pooling/config.json")
    assert kept.read_bytes() == (folder / "1_Pooling/config.json").read_bytes()
    assert [file["name"] for file in answer.json()["files"]] == names
    url = f"/v1/models/{answer.json()['id']}/files"
    for name in ("1_Pooling/config.json", "1_Pooling%2Fconfig.json"):
        file = client.get(f"{url}/{name}")
        assert file.content == kept.read_bytes()
        assert file.headers["content-disposition"] == 'attachment; filename="config.json"'
    (kept.parent / "hidden.json").write_text("{}")  # nothing that the model names
    for name in ("1_Pooling/hidden.json", "1_Pooling", "2_Normalize/config.json"):
        assert client.get(f"{url}/{name}").status_code == 404, name
    for name in (
        "..%2Fconfig.json",
        "1_Pooling%2F..%2Fconfig.json",
        "%2Fetc%2Fpasswd",
        "a/b/c",
        "1_Pooling/",
    ):
        assert client.get(f"{url}/{name}").status_code == 422, name


def test_files_that_belong_to_no_checkpoint_are_not_kept(
    client: TestClient, context: Context, checkpoint: Path
) -> None:
    extra: Files = [("files", ("README.md", b"# mine")), ("files", (".gitattributes", b"*"))]
    model = client.post("/v1/models", files=files_of(checkpoint) + extra).json()
    assert "README.md" not in {file["name"] for file in model["files"]}
    assert not [name for name in stored(context.settings) if "README" in name or "git" in name]


def test_the_name_is_that_of_the_archive_by_default(client: TestClient, checkpoint: Path) -> None:
    answer = client.post(
        "/v1/models", files=[("file", ("my bert.tar.gz", tar_of(checkpoint, compress=True)))]
    )
    assert answer.json()["name"] == "my bert"


def test_models_are_listed_newest_first_in_pages(client: TestClient, checkpoint: Path) -> None:
    ids = [send_model(client, checkpoint, data={"name": f"model {i}"}).json()["id"] for i in range(5)]
    listed: list[str] = []
    cursor = None
    for expected in (2, 2, 1):
        page = client.get("/v1/models", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        assert len(page["data"]) == expected
        listed += [model["id"] for model in page["data"]]
        cursor = page["next_cursor"]
        assert page["has_more"] is (cursor is not None)
    assert listed == ids[::-1]


def test_a_file_can_be_downloaded(client: TestClient, checkpoint: Path) -> None:
    model = send_model(client, checkpoint).json()
    answer = client.get(f"/v1/models/{model['id']}/files/config.json")
    assert json.loads(answer.content) == json.loads((checkpoint / "config.json").read_bytes())
    assert answer.headers["content-disposition"] == 'attachment; filename="config.json"'
    assert client.get(f"/v1/models/{model['id']}/files/README.md").status_code == 404


def test_a_deleted_model_is_gone_with_its_files(
    client: TestClient, context: Context, checkpoint: Path
) -> None:
    model = send_model(client, checkpoint).json()
    assert client.delete(f"/v1/models/{model['id']}").status_code == 204
    assert client.get(f"/v1/models/{model['id']}").status_code == 404
    assert client.delete(f"/v1/models/{model['id']}").status_code == 404
    assert stored(context.settings) == []


@pytest.mark.parametrize("running", [False, True], ids=["queued", "running"])
def test_what_an_unfinished_job_uses_is_not_deleted(
    client: TestClient, context: Context, checkpoint: Path, running: bool
) -> None:
    request = job_request(client, checkpoint)
    job = client.post("/v1/jobs", json=request).json()
    claimed = claim(context.database) if running else None
    assert client.get(f"/v1/jobs/{job['id']}").json()["state"] == ("running" if running else "queued")
    urls = [f"/v1/models/{request['model']}", f"/v1/datasets/{request['dataset']}"]
    for url in urls:
        refused = client.delete(url)
        assert refused.status_code == 409
        assert refused.json()["code"] == "in_use"
        assert job["id"] in refused.json()["detail"]
        assert client.get(url).status_code == 200
    if claimed:
        fail(context.database, claimed)
    else:
        client.post(f"/v1/jobs/{job['id']}/cancel")
    for url in urls:
        assert client.delete(url).status_code == 204


BAD_FORMS: dict[str, tuple[Files, str]] = {
    "nothing": ([], "one_archive_or_files"),
    "two archives": ([("file", ("a.zip", b"PK")), ("file", ("b.zip", b"PK"))], "one_archive_or_files"),
    "both": ([("file", ("a.zip", b"PK")), ("files", ("config.json", b"{}"))], "one_archive_or_files"),
    "unknown field": ([("model", ("a.zip", b"PK"))], "unexpected_field"),
    "path": ([("files", ("../config.json", b"{}"))], "invalid_file_name"),
    "twice": ([("files", ("config.json", b"{}"))] * 2, "duplicate_file"),
    "no archive": ([("file", ("a.zip", b"hello"))], "not_an_archive"),
    "no checkpoint": ([("files", ("notes.txt", b"hello"))], "missing_config"),
    "bad config": ([("files", ("config.json", b"{"))], "invalid_json"),
    "pickle": ([("files", ("pytorch_model.bin", b"\x80\x02"))], "pickle_weights"),
}


@pytest.mark.parametrize("form", BAD_FORMS)
def test_a_bad_form_is_refused_and_leaves_nothing(shared_client: TestClient, form: str) -> None:
    files, code = BAD_FORMS[form]
    answer = shared_client.post("/v1/models", files=[*files, ("name", (None, b"x"))])
    assert answer.status_code == 422, answer.text
    assert code in codes(answer)
    assert stored(context_of(shared_client).settings) == []
    assert shared_client.get("/v1/models").json()["data"] == []


@pytest.mark.parametrize(
    "place", ["api.sinks.FileSink.write", "core.archive._write", "core.storage.Storage.put"]
)
def test_a_full_disk_is_said_and_leaves_nothing(
    shared_client: TestClient, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(place, no_space)
    answer = shared_client.post("/v1/models", files=[("file", ("model.zip", zip_of(checkpoint)))])
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert stored(context_of(shared_client).settings) == []


def test_the_limit_of_an_upload_holds(client: TestClient, context: Context) -> None:
    object.__setattr__(context, "settings", context.settings.model_copy(update={"max_upload_bytes": 1000}))
    answer = client.post("/v1/models", files=[("file", ("a.zip", bytes(2000)))])
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"
    assert stored(context.settings) == []
