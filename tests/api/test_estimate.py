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

Job = tuple[dict[str, Any], dict[str, Any]]
"""A step, and what else there is."""
TRAINING = {"epochs": 2, "batch_size": 8, "evaluations_per_epoch": 1}
DROP = {"method": "layer_drop", "recovery": TRAINING}
THESEUS = {"method": "theseus", "training": TRAINING}
DISTILL = {"method": "distill", "training": TRAINING}
PIECES = {"task": "fill-mask", "settings": {"measured_pieces": 50}}
CLASSES = {"task": "text-classification"}
MORE: dict[str, tuple[Job, Job]] = {
    "more pieces are hidden to measure by": (
        (DROP, PIECES),
        (DROP, PIECES | {"settings": {"measured_pieces": 150}}),
    ),
    "more validations": (
        (DROP, PIECES),
        (DROP | {"recovery": TRAINING | {"evaluations_per_epoch": 6}}, PIECES),
    ),
    "a teacher": ((DROP, PIECES), (DROP | {"distillation": {}}, PIECES)),
    "states of the original": ((THESEUS, PIECES), (THESEUS | {"hidden_weight": 1}, PIECES)),
    "states where answers are kept": (
        (THESEUS | {"distillation": {}}, CLASSES),
        (THESEUS | {"distillation": {}, "hidden_weight": 1}, CLASSES),
    ),
    "hidden states of a teacher": ((DISTILL, CLASSES), (DISTILL | {"hidden_weight": 1}, CLASSES)),
    "attention of a teacher": ((DISTILL, CLASSES), (DISTILL | {"attention_weight": 1}, CLASSES)),
    "the last states of a teacher": ((DISTILL, CLASSES), (DISTILL | {"cosine_weight": 1}, CLASSES)),
    "first pieces of a teacher": ((DISTILL, CLASSES), (DISTILL | {"patient": {"weight": 1}}, CLASSES)),
    "more files": ((DROP, PIECES), (DROP, PIECES | {"exports": ["onnx"]})),
}
SAME: dict[str, tuple[Job, Job]] = {
    "answers that come with states": (
        (THESEUS | {"hidden_weight": 1}, CLASSES),
        (THESEUS | {"hidden_weight": 1, "distillation": {}}, CLASSES),
    ),
    "states that come with answers": ((DISTILL, PIECES), (DISTILL | {"hidden_weight": 1}, PIECES)),
}


@pytest.mark.parametrize("change", MORE)
def test_more_work_takes_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    monkeypatch.setattr(estimating, "FLOPS_PER_SECOND", {"cpu": 1e6})
    less, more = (seconds_of(tmp_path / str(number), job) for number, job in enumerate(MORE[change]))
    assert more > 1.05 * less > 0


@pytest.mark.parametrize("change", SAME)
def test_one_pass_of_the_original_gives_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(estimating, "FLOPS_PER_SECOND", {"cpu": 1e6})
    one, both = (seconds_of(tmp_path / str(number), job) for number, job in enumerate(SAME[change]))
    assert one == both > 0


def seconds_of(folder: Path, job: Job) -> float:
    step, given = job
    spec = make_spec(folder, [step], **given)
    files: dict[SplitName, Path] = {s: folder / f"{s}.jsonl" for s in ("train", "validation")}
    (folder / "again").mkdir()
    summary = ingest_dataset(files, folder / "again", None, 0)
    guess = estimate(spec.plan, inspect_checkpoint(spec.model), summary, "cpu")
    assert guess.training_steps == 12
    return guess.seconds
