"""Real sentences: a short run of Theseus must learn, not only run, and words are tagged as a treebank tags them."""

import json
import os
from pathlib import Path

import pytest
from sklearn import metrics
from transformers import AutoModelForSequenceClassification

from compression.checkpoints.inspection import inspect_checkpoint
from compression.data.ingest import ingest_dataset
from compression.data.summary import SplitName
from compression.spec import Recipe, RunSpec, Runtime, resolve
from tests.compression.jobs import make_spec, predictions_of, run_to_end

SHARED = Path(os.environ.get("PLANKWRIGHT_SHARED", Path(__file__).parents[3] / "shared"))

pytestmark = pytest.mark.skipif(
    not all((SHARED / name).exists() for name in ("models/sst2-minilm", "data/sst2", "data/ud-english-ewt")),
    reason="no real data: put `shared` with data/sst2, data/ud-english-ewt and models/sst2-minilm beside the project",
)


def test_half_the_depth_keeps_most_of_sst2(tmp_path: Path) -> None:
    lines = (SHARED / "data" / "sst2" / "train.tsv").read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "train.tsv").write_text("".join(lines[:2401]), "utf-8")
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    model = SHARED / "models" / "sst2-minilm"
    files: dict[SplitName, Path] = {
        "train": tmp_path / "train.tsv",
        "validation": SHARED / "data" / "sst2" / "dev.tsv",
    }
    summary = ingest_dataset(files, dataset, None, 0)
    recipe = Recipe.model_validate(
        {
            "steps": [
                {
                    "method": "theseus",
                    "successor_layers": 3,
                    "training": {"epochs": 1, "evaluations_per_epoch": 1},
                }
            ]
        }
    )
    plan = resolve(recipe, inspect_checkpoint(model), summary)
    report = run_to_end(
        RunSpec(model=model, dataset=dataset, plan=plan, runtime=Runtime(threads=1)), tmp_path / "out"
    )

    assert report.before.metrics["accuracy"].value == pytest.approx(0.8933, abs=0.0012)
    assert report.after.metrics["accuracy"].value > 0.75
    assert report.after.bytes < report.before.bytes
    assert report.curves["replacing_rate"][0].value < report.curves["replacing_rate"][-1].value == 1.0
    result = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / "model")
    assert result.config.num_hidden_layers == 3
    assert json.loads((tmp_path / "out" / "artifacts" / "manifest.json").read_text())["inputs"]["model"]


def test_words_of_a_treebank_are_tagged(tmp_path: Path) -> None:
    rows: dict[SplitName, Path] = {}
    parts_of_speech = set[str]()
    names: dict[SplitName, str] = {"train": "train-part", "validation": "dev"}
    for split, name in names.items():
        path = SHARED / "data" / "ud-english-ewt" / f"en_ewt-ud-{name}.conllu"
        with path.open(encoding="utf-8") as file:
            sentences = file.read(150_000).split("\n\n")[:40]
        rows[split] = tmp_path / f"{split}.conllu"
        rows[split].write_text("".join(f"{sentence}\n\n" for sentence in sentences), "utf-8")
        words = (line.split("\t") for sentence in sentences for line in sentence.splitlines())
        parts_of_speech |= {fields[3] for fields in words if fields[0].isdecimal()}
    drop = {"method": "layer_drop", "keep_layers": 1, "recovery": {"max_steps": 2, "batch_size": 8}}
    spec = make_spec(
        tmp_path, [drop], task="token-classification", layers=2, labels=sorted(parts_of_speech), rows=rows
    )
    assert spec.plan.task.type == "token-classification"
    assert (spec.plan.task.scheme, spec.plan.task.columns.tags) == ("tags", "upos")
    report = run_to_end(spec, tmp_path / "out")
    assert (report.metric, set(report.after.metrics)) == ("accuracy", {"accuracy", "f1_macro"})
    tagged = [
        (true, said)
        for row in predictions_of(tmp_path / "out")
        for true, said in zip(row["tags"], row["after_answer"], strict=True)
        if said is not None
    ]
    truth, said = zip(*tagged, strict=True)
    assert report.after.metrics["accuracy"].value == pytest.approx(metrics.accuracy_score(truth, said))
    assert report.after.metrics["f1_macro"].value == pytest.approx(
        metrics.f1_score(truth, said, average="macro", zero_division=0)
    )
