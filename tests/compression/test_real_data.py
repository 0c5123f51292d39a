"""Theseus on real sentences and a model that was really fine-tuned: a short run must learn, not only run."""

import json
import os
from pathlib import Path

import pytest
from transformers import AutoModelForSequenceClassification

from compression.checkpoints.inspection import inspect_checkpoint
from compression.data.ingest import ingest_dataset
from compression.data.summary import SplitName
from compression.spec import Recipe, RunSpec, Runtime, resolve
from tests.compression.jobs import run_to_end

SHARED = Path(os.environ.get("PLANKWRIGHT_SHARED", Path(__file__).parents[3] / "shared"))

pytestmark = pytest.mark.skipif(
    not (SHARED / "models" / "sst2-minilm").exists(),
    reason="no real data: put `shared` with data/sst2 and models/sst2-minilm beside the project",
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
