import json
import threading
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from compression.registry import METHODS
from plankwright.cli.remote import submit
from plankwright.client import Plankwright
from plankwright.errors import PlankwrightError
from plankwright.resources import Dataset, Job, Model
from tests.checkpoints import make_tiny_checkpoint
from tests.plankwright.scripted import Answer, Asked, scripted_server

STEP = {"method": "theseus", "successor_layers": 1}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("my-bert"))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\ngood film,positive\nbad film,negative\n")
    return path


def sent(service: Plankwright, checkpoint: Path, rows: Path) -> tuple[Model, Dataset]:
    return service.models.upload(checkpoint), service.datasets.upload(rows, rows)


def created(service: Plankwright, checkpoint: Path, rows: Path, name: str | None = None) -> Job:
    model, dataset = sent(service, checkpoint, rows)
    return service.jobs.create(model.id, dataset.id, [STEP], **({"name": name} if name else {}))


def test_models_of_a_step_that_are_folders_are_sent_too(
    service: Plankwright, checkpoint: Path, rows: Path, tmp_path: Path
) -> None:
    language_model = make_tiny_checkpoint(tmp_path / "language-model", task="fill-mask")
    steps = [
        {"method": "tinybert", "augmentation": {"model": str(language_model)}},
        {"method": "distill", "student": {"model": str(checkpoint)}},
        {"method": "distill", "student": {"type": "bilstm"}},
    ]
    job = submit(service, checkpoint, {"train": rows, "validation": rows}, {"steps": steps}, shown=False)
    augmented, given, recurrent = job.model_dump()["plan"]["steps"]
    assert augmented["augmentation"]["model"].startswith("mdl_")
    assert given["student"]["model"].startswith("mdl_")
    assert augmented["augmentation"]["model"] != given["student"]["model"]
    assert (recurrent["preset"], recurrent["student"]["hidden_size"]) == ("bilstm", 256)


def test_a_corpus_that_is_a_file_is_sent_too(service: Plankwright, checkpoint: Path, rows: Path) -> None:
    texts = rows.with_name("texts.txt")
    texts.write_text("good film\n")

    def recipe(corpus: Path) -> dict[str, Any]:
        return {"steps": [{"method": "trim_vocabulary", "keep_share": 0.9, "corpus": str(corpus)}]}

    job = submit(service, checkpoint, {"train": rows, "validation": rows}, recipe(texts), shown=False)
    (trim,) = job.model_dump()["plan"]["steps"]
    assert service.datasets.get(trim["corpus"]).name == "texts"
    assert trim["corpus_columns"] == ["text"]
    with pytest.raises(PlankwrightError, match="is a folder: have its texts in one file"):
        submit(service, checkpoint, {"train": rows}, recipe(texts.parent), shown=False)


def test_a_folder_is_sent_with_what_belongs_to_it(service: Plankwright, checkpoint: Path) -> None:
    (checkpoint / "training_args.bin").write_bytes(b"pickle")
    told: list[tuple[int, int]] = []
    model = service.models.upload(checkpoint, progress=lambda done, total: told.append((done, total)))
    assert (model.facts.architecture, model.facts.layers) == ("bert", 2)
    assert model.facts.labels == ["negative", "positive"]
    assert model.name == checkpoint.name
    assert told[-1][0] == told[-1][1] > 0
    assert service.models.get(model.id) == model
    assert list(service.models.list()) == [model]
    service.models.delete(model.id)
    assert list(service.models.list()) == []


def test_a_model_comes_back_as_it_was_sent(service: Plankwright, tmp_path: Path) -> None:
    sent = make_tiny_checkpoint(tmp_path / "sent", task="sentence-similarity")
    told: list[tuple[int, int]] = []
    model = service.models.upload(sent)
    back = service.models.download(
        model.id, tmp_path / "back", lambda done, total: told.append((done, total))
    )
    files = {
        path.relative_to(back).as_posix(): path.read_bytes() for path in back.rglob("*") if path.is_file()
    }
    assert "1_Pooling/config.json" in files
    assert files == {name: (sent / name).read_bytes() for name in files}
    assert set(files) == {file.name for file in model.files}
    assert told[-1] == (model.bytes, model.bytes)


def test_a_folder_without_safetensors_is_not_sent(service: Plankwright, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(PlankwrightError, match="save_pretrained"):
        service.models.upload(tmp_path / "m")


def test_a_refusal_names_everything_that_is_wrong(service: Plankwright, checkpoint: Path, rows: Path) -> None:
    model, dataset = sent(service, checkpoint, rows)
    with pytest.raises(PlankwrightError) as caught:
        service.jobs.create(
            model.id, dataset.id, [{"method": "theseus", "successor_layers": 9, "colour": "red"}]
        )
    assert caught.value.code == "invalid_request"
    assert [(p.pointer, p.code) for p in caught.value.problems] == [("/steps/0/colour", "unknown_field")]


def test_a_dry_run_creates_nothing(service: Plankwright, checkpoint: Path, rows: Path) -> None:
    model, dataset = sent(service, checkpoint, rows)
    checked = service.jobs.dry_run(model.id, dataset.id, [STEP], seed=7)
    assert checked["plan"]["seed"] == 7
    assert list(service.jobs.list()) == []


def test_lists_go_through_all_their_pages(service: Plankwright, checkpoint: Path, rows: Path) -> None:
    model, dataset = sent(service, checkpoint, rows)
    names = [f"job {n}" for n in range(55)]
    for name in names:
        service.jobs.create(model.id, dataset.id, [STEP], name=name, auto_start=False)
    assert [job.name for job in service.jobs.list()] == names[::-1]
    assert [job.name for job in islice(service.jobs.list("held"), 1)] == ["job 54"]
    assert list(service.jobs.list("running")) == []


def test_a_job_is_steered_and_its_events_are_followed_to_the_end(
    service: Plankwright, checkpoint: Path, rows: Path
) -> None:
    job = created(service, checkpoint, rows)
    canceller = threading.Timer(0.3, service.jobs.cancel, [job.id])
    canceller.start()
    assert [event.type for event in service.jobs.events(job.id)] == ["created", "queued", "cancelled"]
    canceller.join()
    assert service.jobs.get(job.id).state == "cancelled"
    assert service.jobs.retry(job.id).state == "queued"
    assert service.jobs.logs(job.id) == ""
    assert service.jobs.artifacts(job.id) == []


def test_waiting_ends_with_the_job_or_with_patience(
    service: Plankwright, checkpoint: Path, rows: Path
) -> None:
    job = created(service, checkpoint, rows)
    assert service.jobs.wait(job.id, timeout=0.1).state == "queued"
    canceller = threading.Timer(0.3, service.jobs.cancel, [job.id])
    canceller.start()
    assert service.jobs.wait(job.id).state == "cancelled"
    canceller.join()


def test_methods_come_with_their_schema(service: Plankwright) -> None:
    assert [method.name for method in service.methods.list()] == list(METHODS)
    assert "successor_layers" in service.methods.get("theseus").json_schema["properties"]
    with pytest.raises(PlankwrightError) as caught:
        service.methods.get("magic")
    assert caught.value.code == "not_found"


def test_a_wrong_key_is_refused(service: Plankwright) -> None:
    with Plankwright(service.url, "pw_wrong") as stranger, pytest.raises(PlankwrightError) as caught:
        stranger.jobs.get("job_" + "0" * 32)
    assert (caught.value.code, caught.value.status) == ("unauthenticated", 401)


def test_a_cut_stream_of_events_is_taken_up_without_gap_or_repetition() -> None:
    def message(id: int, type: str) -> bytes:
        data = {
            "id": id,
            "type": type,
            "time": "2026-01-01T00:00:00Z",
            "level": "info",
            "message": "",
            "data": {},
        }
        return f"id: {id}\nevent: {type}\ndata: {json.dumps(data)}\n\n".encode()

    whole = [message(1, "created"), message(2, "queued"), message(3, "claimed"), message(4, "succeeded")]

    def answer(asked: Asked) -> Answer:
        if asked.path == "/v1/jobs/job_1":
            return Answer(body=json.dumps(ENDED).encode())
        last = int(asked.headers["Last-Event-ID"])
        cut = len(whole[last]) + 9 if last < 2 else None
        return Answer(
            body=b"".join(whole[last:]), headers={"Content-Type": "text/event-stream"}, cut_after=cut
        )

    with scripted_server(answer) as server, Plankwright(server.url, "k") as service:
        assert [event.id for event in service.jobs.events("job_1")] == [1, 2, 3, 4]
    streams = [a.headers["Last-Event-ID"] for a in server.asked if a.path.endswith("events")]
    assert streams == ["0", "1", "2"]


ENDED = {
    "id": "job_1", "name": "n", "state": "succeeded", "terminal": True, "phase": None, "progress": None,
    "attempt": 1, "model": "m", "dataset": "d", "result_model": None, "verdict": "met", "result": None,
    "reason": None, "created_at": "2026-01-01T00:00:00Z",
}  # fmt: skip
