"""Which of the weights that a training passes through it leaves."""

from pathlib import Path

import pytest

from compression.report.schema import Point, Report
from tests.compression.jobs import TRAINING, make_spec, run_to_end


def trained(tmp_path: Path, **training: object) -> Report:
    """What a training at so high a rate that metric and loyalty go up and down makes."""
    wild = (
        TRAINING
        | {"precision": "float32", "learning_rate": 3e-2, "epochs": 4, "evaluations_per_epoch": 2}
        | training
    )
    step = {"method": "layer_drop", "keep_layers": 2, "distillation": None, "recovery": wild}
    return run_to_end(make_spec(tmp_path, [step]), tmp_path / "out")


def best(points: list[Point]) -> int:
    """The step of the highest value."""
    return max(points, key=lambda point: point.value).step


def test_the_result_is_the_best_by_the_metric_or_by_loyalty_as_is_asked_for(tmp_path: Path) -> None:
    reports = {name: trained(tmp_path / name, best_by=name) for name in ("metric", "loyalty")}
    curves = reports["loyalty"].curves
    accuracies, loyalties = (curves[f"eval.{name}"] for name in ("accuracy", "probability_loyalty"))
    assert best(accuracies) != best(loyalties)  # else neither is shown
    after = {name: report.after for name, report in reports.items()}
    kept = {name: reports[name].loyalty.probability.value for name in reports}
    highest = max(point.value for point in loyalties)
    assert kept["loyalty"] == pytest.approx(highest, abs=1e-4)
    assert kept["metric"] < highest - 1e-3
    highest = max(point.value for point in accuracies)
    assert after["metric"].metrics["accuracy"].value == highest > after["loyalty"].metrics["accuracy"].value


def test_patience_goes_by_what_is_best(tmp_path: Path) -> None:
    report = trained(tmp_path, best_by="loyalty", patience=2, epochs=20)
    loyalties = report.curves["eval.probability_loyalty"]
    assert len(loyalties) < 40  # it stopped before the end
    assert loyalties[-3].step == best(loyalties)
    assert max(point.value for point in loyalties[-2:]) < loyalties[-3].value
