"""The logits to learn from: of every row that the training comes to, and of no other."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compression.checkpoints.facts import TaskType
from compression.data.batches import Batch
from compression.training.states import Teacher
from tests.compression.jobs import TRAINING, make_spec, run_to_end


@pytest.mark.parametrize(("steps", "rows"), [(5, 20), (30, 48)], ids=["part of an epoch", "epochs"])
def test_only_visited_rows_are_asked_of_the_teacher(tmp_path: Path, steps: int, rows: int) -> None:
    """Were a visited row missing, its NaN would be in the loss."""
    cache = tmp_path / "cache"
    cache.mkdir()
    training = {**TRAINING, "epochs": 10, "batch_size": 4, "max_steps": steps}
    spec = make_spec(tmp_path, [{"method": "distill", "training": training}], runtime={"cache": cache})
    report = run_to_end(spec, tmp_path / "out")
    answers = [np.load(file) for file in cache.glob("answers-*.npy")]
    asked = {len(logits): int(np.isfinite(logits).all(axis=1).sum()) for logits in answers}
    assert asked == {24: 24, 48: rows}, "of the validation rows the report knows all"
    assert all(math.isfinite(point.value) for point in report.curves["loss"])


@pytest.mark.parametrize("task", ["text-classification", "fill-mask"])
@pytest.mark.parametrize("step", [{"method": "theseus", "head": "trained"}, {"method": "distill"}])
def test_one_pass_of_a_teacher_shows_its_states_and_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: dict[str, Any], task: TaskType
) -> None:
    passes = []

    def count(teacher: Teacher, batch: Batch) -> torch.Tensor:
        passes.append(len(batch.rows))
        return answers(teacher, batch)

    answers = Teacher.logits_for
    monkeypatch.setattr(Teacher, "logits_for", count)
    cache = tmp_path / "cache"
    cache.mkdir()
    step |= {"hidden_weight": 1.0, "distillation": {"weight": 1.0}, "training": TRAINING}
    run_to_end(make_spec(tmp_path, [step], task=task, runtime={"cache": cache}), tmp_path / "out")
    assert passes == [8] * 12
    assert len(list(cache.glob("answers-*.npy"))) == 1, "of the validation rows alone"
