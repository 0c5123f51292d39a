"""Several labels a text, named in lists or in one value, or as ones and zeros; metrics, and where none is defined."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from compression.checkpoints.loading import open_source
from compression.data.encoding import Array
from compression.errors import InputError
from compression.export.verify import verify
from compression.spec import RunSpec
from compression.tasks.behaviour import behaviour_of
from compression.tasks.encoding import encode_split
from tests.compression.encoded import classification, of_rows
from tests.compression.jobs import make_spec, predictions_of, run_to_end

DROP = {"method": "layer_drop", "keep_layers": 1, "recovery": None}
NUMBERED = ("LABEL_0", "LABEL_1", "LABEL_2")
NAMED = ("sport", "music", "film")
ORDER = {"0": "film", "1": "sport", "2": "music"}


def several(folder: Path, names: tuple[str, ...], values: list[Any], **settings: Any) -> RunSpec:
    """A model with these labels, and texts with these values in their column."""
    rows = [{"text": "good", "labels": value} for value in values]
    return make_spec(
        folder,
        [DROP],
        layers=2,
        labels=names,
        several=True,
        rows={"train": rows, "validation": rows},
        settings=settings,
        evaluation={"metrics": ["accuracy"]},
    )


def encoded(spec: RunSpec) -> Array:
    return encode_split(open_source(spec.model), spec.dataset, "train", spec.plan.task, None).labels


@pytest.mark.parametrize(
    ("names", "values", "settings", "found"),
    [
        pytest.param(NUMBERED, [[0, 0, 1], [1, 0, 1]], {}, [[0, 0, 1], [1, 0, 1]], id="ones and zeros"),
        pytest.param(NUMBERED, [[0.0, 1.0, 0.0]], {}, [[0, 1, 0]], id="as numbers"),
        pytest.param(NUMBERED, [[False, True, True]], {}, [[0, 1, 1]], id="as truth values"),
        pytest.param(NUMBERED[:2], [[0, 1], [1, 0]], {}, [[0, 1], [1, 0]], id="of two labels"),
        pytest.param(NAMED, [[1, 0, 1]], {"labels": ORDER}, [[0, 1, 1]], id="in an order that is told"),
        pytest.param(NUMBERED, [[0, 1], [2], []], {}, [[1, 1, 0], [0, 0, 1], [0, 0, 0]], id="class ids"),
        pytest.param(NUMBERED[:2], [[0, 1], [1]], {}, [[1, 1], [0, 1]], id="class ids of two labels"),
        pytest.param(NAMED, [["film", None], ["", " sport"]], {}, [[0, 0, 1], [1, 0, 0]], id="empty items"),
        pytest.param(NAMED, ["film;sport;", ";"], {}, [[1, 0, 1], [0, 0, 0]], id="empty parts"),
        pytest.param(NAMED, ["film+ +sport"], {"separator": "+"}, [[1, 0, 1]], id="of a separator that is told"),
    ],
)  # fmt: skip
def test_several_labels_are_read(
    tmp_path: Path, names: tuple[str, ...], values: list[Any], settings: dict[str, Any], found: list[Any]
) -> None:
    np.testing.assert_array_equal(encoded(several(tmp_path, names, values, **settings)), found)


def test_ones_and_zeros_of_named_labels_are_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"at the places '0', '1', '2', .* task.labels = {.0.: .sport."):
        several(tmp_path, NAMED, [[0, 0, 1]])


def test_a_list_that_repeats_a_label_is_refused(tmp_path: Path) -> None:
    spec = several(tmp_path, NUMBERED, [[0, 1], [1, 0, 1]])
    with pytest.raises(InputError, match=r"row 2 repeats a label: .* the model's 3 labels") as refused:
        encoded(spec)
    assert refused.value.problems[0].code == "repeated_label"
    assert refused.value.problems[0].place == "/task/columns/label"


def test_ones_and_zeros_go_the_whole_way(tmp_path: Path) -> None:
    spec = several(tmp_path, NUMBERED, [[0, 0, 1], [1, 0, 1], [0, 1, 0]] * 8)
    report = run_to_end(spec, tmp_path / "out")
    assert [result.rows for result in report.before.classes] == [8, 8, 16]
    assert verify(tmp_path / "out" / "artifacts").largest_difference < 1e-5


def test_a_regression_is_measured_as_scipy_does(tmp_path: Path) -> None:
    report = run_to_end(make_spec(tmp_path, [DROP], layers=2, regression=True), tmp_path / "out")
    rows = predictions_of(tmp_path / "out")
    truth = [float(row["label"]) for row in rows]
    assert (report.metric, set(report.before.metrics)) == ("pearson", {"pearson", "spearman"})
    for side, measured in (("before", report.before), ("after", report.after)):
        said = [row[f"{side}_answer"] for row in rows]
        assert measured.metrics["pearson"].value == pytest.approx(
            stats.pearsonr(said, truth).statistic, abs=1e-5
        )
        assert measured.metrics["spearman"].value == pytest.approx(
            stats.spearmanr(said, truth).statistic, abs=1e-5
        )


def test_the_metrics_that_are_chosen_are_measured_and_no_others(tmp_path: Path) -> None:
    chosen = {"metric": "f1_macro", "metrics": ["mcc", "accuracy"]}
    report = run_to_end(make_spec(tmp_path, [DROP], layers=2, evaluation=chosen), tmp_path / "out")
    assert (report.metric, list(report.after.metrics)) == ("f1_macro", ["f1_macro", "mcc", "accuracy"])
    rows = predictions_of(tmp_path / "out")
    truth, said = ([row[name] for row in rows] for name in ("label", "after_answer"))
    assert report.after.metrics["mcc"].value == pytest.approx(metrics.matthews_corrcoef(truth, said))
    assert report.after.metrics["accuracy"].value == pytest.approx(metrics.accuracy_score(truth, said))
    assert report.after.metrics["f1_macro"].value == pytest.approx(
        metrics.f1_score(truth, said, average="macro")
    )


def test_two_models_that_name_no_label_agree() -> None:
    task = classification().model_copy(update={"problem_type": "multi_label", "judged_by": "original"})
    data = of_rows(task, np.zeros((3, 2), dtype=np.float32))
    nothing, something = np.full((3, 2), -1.0), np.array([[-1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    behaviour = behaviour_of(task)
    assert behaviour.score("loyalty", nothing, data) == 1
    assert behaviour.score("loyalty", something, data) == 0
    assert behaviour.score("f1_micro", nothing, data) == 0


def test_two_models_of_one_score_for_all_rows_agree() -> None:
    task = classification(regression=True).model_copy(update={"judged_by": "original"})
    data = of_rows(task, np.full(3, 2.5, dtype=np.float32))
    assert behaviour_of(task).score("loyalty", np.full((3, 1), 2.5), data) == 1
    assert behaviour_of(task).score("loyalty", np.full((3, 1), 3.5), data) == 0


@pytest.mark.parametrize(("labels", "doubted"), [([0, 1, 0], True), ([0, 0, 0], False), ([1], False)])
def test_one_answer_for_all_rows_is_doubted_where_they_have_several(labels: list[int], doubted: bool) -> None:
    data = of_rows(classification(), np.array(labels))
    assert bool(behaviour_of(data.task).doubt(np.array([[1.0, 0.0]] * len(labels)), data)) == doubted


def test_label_loyalty_cannot_be_asked_of_scores(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ask for min_retention") as refused:
        make_spec(tmp_path, [DROP], layers=2, regression=True, constraints={"min_label_loyalty": 0.5})
    (problem,) = refused.value.problems
    assert (problem.code, problem.place) == ("constraint_does_not_fit", "/constraints/min_label_loyalty")
