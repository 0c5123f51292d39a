"""The logits to learn from: of every row that the training comes to, and of no other."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compression.evaluation.predict import predict
from compression.training import teacher
from tests.compression.jobs import TRAINING, make_spec, run_to_end


@pytest.mark.parametrize(("steps", "rows"), [(5, 20), (30, 48)], ids=["part of an epoch", "epochs"])
def test_only_visited_rows_are_asked_of_the_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, rows: int
) -> None:
    """Were a visited row missing, its NaN would be in the loss."""
    answers: list[Any] = []

    def noted(*arguments: Any) -> Any:
        answers.append(predict(*arguments))
        return answers[-1]

    monkeypatch.setattr(teacher, "predict", noted)
    training = {**TRAINING, "epochs": 10, "batch_size": 4, "max_steps": steps}
    report = run_to_end(make_spec(tmp_path, [{"method": "distill", "training": training}]), tmp_path / "out")
    assert [int(np.isfinite(logits).all(axis=1).sum()) for logits in answers] == [rows]
    assert all(math.isfinite(point.value) for point in report.curves["loss"])
