import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.context import Context
from compression.checkpoints.inspection import inspect_checkpoint
from compression.data.ingest import read_texts
from compression.spec import RunSpec
from tests.api.requests import codes, context_of, job_request, send_model
from tests.api.work import claim, fail, queue_job
from tests.checkpoints import make_tiny_checkpoint
from worker.prepare import prepare

Json = dict[str, Any]


@pytest.fixture
def request_body(client: TestClient, checkpoint: Path) -> Json:
    return job_request(client, checkpoint)


def test_a_job_is_created_with_its_plan_settled(client: TestClient, request_body: Json) -> None:
    answer = client.post("/v1/jobs", json=request_body)
    assert answer.status_code == 201, answer.text
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["state"] == "queued"
    assert job["terminal"] is False
    assert job["attempt"] == 0
    assert job["name"].endswith(": theseus")
    assert job["plan"]["task"]["columns"] == {"text": "sentence", "text_pair": None, "label": "label"}
    assert job["plan"]["task"]["labels"] == {"negative": 0, "positive": 1}
    assert job["plan"]["evaluation"]["metric"] == "accuracy"
    assert job["plan"]["steps"][0]["training"]["batch_size"] == 32
    assert client.get(answer.headers["location"]).json() == job
    assert client.get("/v1/jobs").json()["data"] == [{k: v for k, v in job.items() if k != "plan"}]


def test_a_dry_run_creates_nothing(client: TestClient, request_body: Json) -> None:
    request_body["steps"].append({"method": "layer_drop", "keep_layers": 1, "recovery": None})
    request_body["steps"][0]["training"] = {"epochs": 2, "batch_size": 16}
    answer = client.post("/v1/jobs", params={"dry_run": True}, json=request_body)
    assert answer.status_code == 200, answer.text
    estimate = answer.json()["estimate"]
    assert [(step["layers_before"], step["layers_after"]) for step in estimate["steps"]] == [(4, 2), (2, 1)]
    assert [step["training_steps"] for step in estimate["steps"]] == [6, 0]  # 40 rows: 3 batches, twice
    assert estimate["seconds"] >= 0
    assert estimate["memory_bytes"] > 0
    assert estimate["assumptions"][1].startswith("40 rows to learn from are 40 sequences")
    assert client.get("/v1/jobs").json()["data"] == []


def test_a_held_job_waits_for_its_start(client: TestClient, request_body: Json) -> None:
    job = client.post("/v1/jobs", json=request_body | {"auto_start": False}).json()
    assert job["state"] == "held"
    for _ in range(2):
        started = client.post(f"/v1/jobs/{job['id']}/start")
        assert started.status_code == 202
        assert started.json()["state"] == "queued"


def test_cancel_and_retry(client: TestClient, request_body: Json) -> None:
    url = f"/v1/jobs/{client.post('/v1/jobs', json=request_body).json()['id']}"
    for _ in range(2):
        cancelled = client.post(f"{url}/cancel")
        assert cancelled.status_code == 202
        assert cancelled.json()["state"] == "cancelled"
        assert cancelled.json()["terminal"] is True
    for body in ({"from": "scratch"}, {"from": "checkpoint"}, None):
        again = client.post(f"{url}/retry", json=body) if body else client.post(f"{url}/retry")
        assert again.status_code == 202, again.text
        assert again.json()["state"] == "queued"


def test_what_the_state_forbids_names_the_state(client: TestClient, request_body: Json) -> None:
    url = f"/v1/jobs/{client.post('/v1/jobs', json=request_body).json()['id']}"
    refused = client.post(f"{url}/retry")
    assert refused.status_code == 409
    assert refused.json()["code"] == "illegal_state"
    assert refused.json()["state"] == "queued"
    client.post(f"{url}/cancel")
    assert client.post(f"{url}/start").json()["state"] == "cancelled"


def test_jobs_are_listed_by_state_in_pages(client: TestClient, request_body: Json) -> None:
    ids = [client.post("/v1/jobs", json=request_body).json()["id"] for _ in range(4)]
    client.post(f"/v1/jobs/{ids[1]}/cancel")
    listed = client.get("/v1/jobs", params={"state": "queued", "limit": 2}).json()
    assert [job["id"] for job in listed["data"]] == [ids[3], ids[2]]
    rest = client.get("/v1/jobs", params={"state": "queued", "cursor": listed["next_cursor"]}).json()
    assert [job["id"] for job in rest["data"]] == [ids[0]]
    assert rest["has_more"] is False
    both = client.get("/v1/jobs", params={"state": ["queued", "cancelled"]}).json()["data"]
    assert [job["id"] for job in both] == ids[::-1]
    for params in ({"cursor": "x"}, {"cursor": "é"}, {"state": "done"}, {"limit": 0}):
        assert client.get("/v1/jobs", params=params).status_code == 422


def test_what_has_not_changed_is_not_sent_again(client: TestClient, request_body: Json) -> None:
    url = f"/v1/jobs/{client.post('/v1/jobs', json=request_body).json()['id']}"
    etag = client.get(url).headers["etag"]
    unchanged = client.get(url, headers={"If-None-Match": f'"other", {etag}'})
    assert unchanged.status_code == 304
    assert unchanged.content == b""
    client.post(f"{url}/cancel")
    changed = client.get(url, headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag
    assert changed.json()["state"] == "cancelled"


def test_a_failed_job_says_why(client: TestClient, context: Context, checkpoint: Path) -> None:
    job_id = queue_job(client, checkpoint)
    reason = fail(context.database, claim(context.database))
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert job["state"] == "failed"
    assert job["reason"] == reason
    assert job["finished_at"].endswith("Z")


def changed(**fields: Any) -> Callable[[Json], Json]:
    return lambda body: body | fields


def step(**fields: Any) -> Callable[[Json], Json]:
    return changed(steps=[{"method": "theseus", **fields}])


BAD_REQUESTS: dict[str, tuple[Callable[[Json], Json], str, str]] = {
    "unknown method": (changed(steps=[{"method": "magic"}]), "/steps/0", "union_tag_invalid"),
    "no method": (changed(steps=[{}]), "/steps/0", "union_tag_not_found"),
    "no steps": (changed(steps=[]), "/steps", "too_short"),
    "unknown field": (changed(stepz=[]), "/stepz", "unknown_field"),
    "unknown field of a step": (step(layers=3), "/steps/0/layers", "unknown_field"),
    "unknown field of the schedule": (
        step(schedule={"type": "linear", "rate": 1}),
        "/steps/0/schedule/rate",
        "unknown_field",
    ),
    "wrong type": (step(successor_layers="three"), "/steps/0/successor_layers", "int_parsing"),
    "infinite": (changed(constraints={"min_speedup": 1e999}), "/constraints/min_speedup", "finite_number"),
    "too deep": (step(successor_layers=4), "/steps/0/successor_layers", "successor_too_deep"),
    "contradiction": (step(modules=[2, 2], successor_layers=3), "/steps/0", "value_error"),
    "unknown model": (changed(model="mdl_" + "0" * 32), "/model", "unknown_model"),
    "unknown dataset": (changed(dataset="ds_" + "0" * 32), "/dataset", "unknown_dataset"),
    "malformed id": (changed(model="mdl_1"), "/model", "string_pattern_mismatch"),
    "missing": (lambda body: {k: v for k, v in body.items() if k != "model"}, "/model", "missing_field"),
    "name": (changed(name="a\tb"), "/name", "string_pattern_mismatch"),
    "unknown column": (
        changed(task={"type": "text-classification", "columns": {"label": "stars"}}),
        "/task/columns/label",
        "missing_column",
    ),
    "split": (changed(evaluation={"split": "test"}), "/dataset", "missing_split"),
    "metric": (changed(evaluation={"metric": "pearson"}), "/evaluation/metric", "metric_does_not_fit"),
}


@pytest.fixture(scope="module")
def valid(shared_client: TestClient, checkpoint: Path) -> Json:
    return job_request(shared_client, checkpoint)


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_a_bad_request_names_the_field_and_creates_nothing(
    shared_client: TestClient, valid: Json, case: str, dry_run: bool
) -> None:
    change, pointer, code = BAD_REQUESTS[case]
    content = json.dumps(change(valid)).replace("Infinity", "1e999")
    headers = {"Content-Type": "application/json"}
    answer = shared_client.post("/v1/jobs", params={"dry_run": dry_run}, content=content, headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "invalid_request"
    assert (pointer, code) in [(item["pointer"], item["code"]) for item in problem["errors"]], problem
    assert shared_client.get("/v1/jobs").json()["data"] == []


def test_the_allowed_methods_are_named(shared_client: TestClient, valid: Json) -> None:
    answer = shared_client.post("/v1/jobs", json=valid | {"steps": [{"method": "magic"}]})
    message = answer.json()["errors"][0]["message"]
    assert all(method["name"] in message for method in shared_client.get("/v1/methods").json()["data"])


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        (b"sentence,label\nfine,good\npoor,bad\n", "labels_do_not_match"),
        (b"sentence,author\nfine,anne\npoor,ben\n", "no_label_column"),
    ],
)
def test_rows_that_do_not_fit_the_model_are_refused(
    shared_client: TestClient, valid: Json, rows: bytes, code: str
) -> None:
    files = [("train", ("t.csv", rows)), ("validation", ("v.csv", rows))]
    dataset = shared_client.post("/v1/datasets", files=files).json()
    answer = shared_client.post("/v1/jobs", json=valid | {"dataset": dataset["id"]})
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert (error["code"], error["pointer"]) == (code, "/task/columns/label")
    assert shared_client.get("/v1/jobs").json()["data"] == []


def test_words_are_tagged_and_a_method_that_cannot_is_refused(client: TestClient, tmp_path: Path) -> None:
    tagger = make_tiny_checkpoint(tmp_path / "tagger", task="token-classification")
    model = send_model(client, tagger)
    assert model.status_code == 201, model.text
    assert model.json()["facts"]["task"] == "token-classification"
    rows = b"Ada\tB-thing\nsleeps\tO\n\n" * 20
    files = [(split, (f"{split}.conll", rows)) for split in ("train", "validation")]
    dataset = client.post("/v1/datasets", files=files)
    assert dataset.status_code == 201, dataset.text
    body = {"model": model.json()["id"], "dataset": dataset.json()["id"]}

    steps = [{"method": "theseus", "successor_layers": 1}]
    answer = client.post("/v1/jobs", params={"dry_run": True}, json={**body, "steps": steps})
    assert answer.status_code == 200, answer.text
    task = answer.json()["plan"]["task"]
    assert (task["type"], task["scheme"]) == ("token-classification", "entities")
    assert task["columns"] == {"tokens": "tokens", "tags": "tags"}
    assert answer.json()["plan"]["evaluation"]["metric"] == "f1"

    answer = client.post("/v1/jobs", json={**body, "steps": [*steps, {"method": "trim_vocabulary"}]})
    assert answer.status_code == 422
    (problem,) = answer.json()["errors"]
    assert (problem["code"], problem["pointer"]) == ("method_does_not_fit", "/steps/1/method")

    wrong = {**body, "steps": steps, "task": {"type": "text-classification"}}
    answer = client.post("/v1/jobs", json=wrong)
    assert codes(answer) == ["task_does_not_fit"]


def test_a_step_may_name_a_model_of_its_own(client: TestClient, checkpoint: Path, tmp_path: Path) -> None:
    """It is kept while the job needs it, and brought to the worker."""
    student = send_model(client, make_tiny_checkpoint(tmp_path / "student", layers=1)).json()["id"]
    stranger = send_model(client, make_tiny_checkpoint(tmp_path / "stranger", labels=("a", "b"))).json()["id"]
    request = job_request(client, checkpoint)

    def asked(model: str) -> Json:
        return request | {"steps": [{"method": "distill", "student": {"model": model}}]}

    for model, code in ((stranger, "student_differs"), ("mdl_nobody", "unknown_model")):
        refused = client.post("/v1/jobs", json=asked(model))
        assert refused.status_code == 422
        (error,) = refused.json()["errors"]
        assert (error["code"], error["pointer"]) == (code, "/steps/0/student/model")
    job = client.post("/v1/jobs", json=asked(student)).json()
    assert job["plan"]["steps"][0]["student"]["shape"]["layers"] == 1

    context = context_of(client)
    (tmp_path / "attempt").mkdir()
    claimed = claim(context.database)
    prepared = prepare(context.storage, context.settings, claimed, [], tmp_path / "attempt")
    spec = RunSpec.model_validate_json(prepared.read_bytes())
    assert inspect_checkpoint(spec.models[student]).layers == 1
    kept = client.delete(f"/v1/models/{student}")
    assert (kept.status_code, kept.json()["code"]) == (409, "in_use")
    fail(context.database, claimed)
    assert client.delete(f"/v1/models/{student}").status_code == 204


def test_a_step_may_name_a_dataset_of_its_own(client: TestClient, checkpoint: Path, tmp_path: Path) -> None:
    """It is kept while the job needs it, and brought to the worker."""
    request = job_request(client, checkpoint)

    def sent(rows: bytes, kind: str = "csv") -> str:
        answer = client.post("/v1/datasets", files=[("train", (f"texts.{kind}", rows))])
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def asked(corpus: str, **settings: Any) -> Json:
        trim = {"method": "trim_vocabulary", "keep_share": 0.9, "corpus": corpus, **settings}
        return request | {"steps": [*request["steps"], trim]}

    two = sent(b"title,body\none,two\nthree,four\n")
    numbers = sent(b"size\n1\n2\n")
    for body, code, pointer, words in (
        (asked("ds_nobody"), "unknown_dataset", "/steps/1/corpus", "ds_nobody"),
        (asked("/etc"), "unknown_dataset", "/steps/1/corpus", "/etc"),
        (asked(two), "ambiguous_corpus_columns", "/steps/1/corpus_columns", "title, body"),
        (asked(two, corpus_columns=["text"]), "missing_column", "/steps/1/corpus_columns", "title, body"),
        (asked(numbers), "no_text", "/steps/1/corpus", "size"),
    ):
        refused = client.post("/v1/jobs", json=body)
        assert refused.status_code == 422
        (error,) = refused.json()["errors"]
        assert (error["code"], error["pointer"]) == (code, pointer)
        assert words in error["message"]

    corpus = sent(b"a text\n\nanother\n", "txt")
    job = client.post("/v1/jobs", json=asked(corpus)).json()
    assert job["plan"]["steps"][1]["corpus_columns"] == ["text"]
    context = context_of(client)
    claimed = claim(context.database)
    for name, kept in (("first", True), ("second", False)):
        (tmp_path / name).mkdir()
        if kept:
            prepared = prepare(context.storage, context.settings, claimed, [], tmp_path / name)
            spec = RunSpec.model_validate_json(prepared.read_bytes())
            assert list(read_texts(spec.datasets[corpus], "train", ["text"])) == [["a text", "another"]]
            refused = client.delete(f"/v1/datasets/{corpus}")
            assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
            fail(context.database, claimed)
            assert client.delete(f"/v1/datasets/{corpus}").status_code == 204
        else:  # after a retry: what a worker makes of it is told as `input_missing`
            with pytest.raises(FileNotFoundError, match=corpus):
                prepare(context.storage, context.settings, claimed, [], tmp_path / name)
    again = client.post("/v1/jobs", json=asked(corpus))
    assert codes(again) == ["unknown_dataset"]
