"""What a dry run guesses goes up with what a job does."""

from pathlib import Path
from typing import Any

import pytest

from api.jobs import estimate as estimating
from api.jobs.estimate import estimate
from compression.checkpoints.inspection import inspect_checkpoint
from compression.data.ingest import ingest_dataset
from compression.data.summary import SplitName
from tests.compression.jobs import make_spec

TRAINING = {"epochs": 2, "batch_size": 8, "evaluations_per_epoch": 1}
DROP = {"method": "layer_drop", "recovery": TRAINING}
THESEUS = {"method": "theseus", "training": TRAINING}
DISTILL = {"method": "distill", "training": TRAINING}
MORE: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "more pieces are hidden to measure by": (DROP, {}, {"settings": {"measured_pieces": 150}}),
    "more validations": (DROP, {"recovery": TRAINING | {"evaluations_per_epoch": 6}}, {}),
    "a teacher": (DROP, {"distillation": {}}, {}),
    "states of the original": (THESEUS, {"hidden_weight": 1}, {}),
    "states beside answers": (THESEUS | {"distillation": {}}, {"hidden_weight": 1}, {}),
    "answers beside states": (THESEUS | {"hidden_weight": 1}, {"distillation": {}}, {}),
    "hidden states of a teacher": (DISTILL, {"hidden_weight": 1}, {}),
    "attention of a teacher": (DISTILL, {"attention_weight": 1}, {}),
    "the last states of a teacher": (DISTILL, {"cosine_weight": 1}, {}),
    "first pieces of a teacher": (DISTILL, {"patient": {"weight": 1}}, {}),
    "more files": (DROP, {}, {"exports": ["onnx"]}),
}
"""A step, what is changed in it, and what else is."""


@pytest.mark.parametrize("change", MORE)
def test_more_work_takes_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    monkeypatch.setattr(estimating, "FLOPS_PER_SECOND", {"cpu": 1e6})
    seconds = []
    step, changed, others = MORE[change]
    for name, more, options in (("less", {}, {}), ("more", changed, others)):
        folder = tmp_path / name
        given = {"settings": {"measured_pieces": 50}} | options
        spec = make_spec(folder, [step | more], task="fill-mask", **given)
        files: dict[SplitName, Path] = {s: folder / f"{s}.jsonl" for s in ("train", "validation")}
        (folder / "again").mkdir()
        summary = ingest_dataset(files, folder / "again", None, 0)
        guess = estimate(spec.plan, inspect_checkpoint(spec.model), summary, "cpu")
        assert guess.training_steps == 12
        seconds.append(guess.seconds)
    assert seconds[1] > 1.05 * seconds[0] > 0
