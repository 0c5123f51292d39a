"""What every task promises, on tiny random models: theseus goes the whole way for it."""

import io
import math
from pathlib import Path
from typing import Any, get_args

import pytest
import transformers

from compression.checkpoints.facts import TIED, Architecture, TaskType
from compression.checkpoints.inspection import inspect_checkpoint
from compression.errors import Stopped
from compression.events import EventWriter
from compression.export.verify import verify
from compression.registry import METHODS
from compression.run import run
from tests.compression.jobs import METHOD_SETTINGS, make_spec, resumed, run_to_end, stop_after, weights_of
from tests.contract.test_methods import ARCHITECTURES

STEP: dict[str, Any] = {"method": "theseus", **METHOD_SETTINGS["theseus"], "distillation": {"weight": 0.3}}
TASKS = [task for task in get_args(TaskType) if task != "text-generation"]
"""Those of encoders; the other is tried in tests/compression/tasks/test_text_generation.py."""
LABELLED = [task for task in TASKS if task not in TIED]
AUTO = {
    "text-classification": transformers.AutoModelForSequenceClassification,
    "token-classification": transformers.AutoModelForTokenClassification,
    "question-answering": transformers.AutoModelForQuestionAnswering,
    "fill-mask": transformers.AutoModelForMaskedLM,
    "sentence-similarity": transformers.AutoModel,
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("task", TASKS)
def test_every_task_goes_the_whole_way(tmp_path: Path, task: TaskType, architecture: Architecture) -> None:
    spec = make_spec(tmp_path, [STEP], task=task, architecture=architecture)
    report = run_to_end(spec, tmp_path / "out")

    assert set(report.before.metrics) == set(report.after.metrics) == set(spec.plan.task.metrics)
    assert report.metric == spec.plan.task.metrics[0]
    assert all(math.isfinite(point.value) for points in report.curves.values() for point in points)
    assert f"eval.{report.metric}" in report.curves
    assert 0 <= report.loyalty.probability.value <= 1
    assert report.rows == 24
    verified = verify(tmp_path / "out" / "artifacts")
    assert verified.measured == pytest.approx(verified.reported, abs=1e-6)
    assert verified.largest_difference < 1e-5
    model = AUTO[task].from_pretrained(tmp_path / "out" / "model")
    assert model.config.num_hidden_layers == 2
    assert model.config.architectures == [type(model).__name__]


@pytest.mark.parametrize(
    ("method", "task"),
    [
        (name, task)
        for name, params in sorted(METHODS.items())
        for task in params.TASKS
        if name != "theseus" and task in ("token-classification", "question-answering")
    ],
)
def test_every_method_serves_the_tasks_that_it_names(tmp_path: Path, method: str, task: TaskType) -> None:
    spec = make_spec(tmp_path, [{"method": method, **METHOD_SETTINGS[method]}], task=task)
    report = run_to_end(spec, tmp_path / "out")
    assert report.after.bytes < report.before.bytes
    assert verify(tmp_path / "out" / "artifacts").largest_difference < 1e-5


@pytest.mark.parametrize(("task", "width"), [("fill-mask", 8), ("sentence-similarity", None)])
def test_several_methods_serve_a_task_one_after_the_other(
    tmp_path: Path, task: TaskType, width: int | None
) -> None:
    """What shares its table with the embeddings still does when all is done to it."""
    briefly = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    steps: list[dict[str, Any]] = [
        {"method": "layer_drop", "keep_layers": 3, "strategy": "best", "recovery": None},
        {
            "method": "tinybert",
            "student_layers": 2,
            "hidden_size": width,
            "augmentation": {},
            "training": briefly,
        },
        {"method": "narrow", "rows": 8, "recovery": briefly},
        {"method": "ladabert", "ratio": 3, "weighting": "gradients", "training": briefly},
        {"method": "quantize", "recovery": briefly, "distillation": {}},
    ]
    spec = make_spec(tmp_path, steps, task=task)
    report = run_to_end(spec, tmp_path / "out")
    assert [file.name for file in report.files] == ["model.int8.onnx", "model.tar"]
    assert verify(tmp_path / "out" / "artifacts").largest_difference < 1e-5
    facts = inspect_checkpoint(tmp_path / "out" / "model")
    assert (facts.low_rank, facts.packed) == (True, True)
    assert report.after.parameters == facts.parameters


@pytest.mark.parametrize("task", LABELLED)
def test_rows_to_learn_from_need_no_labels(tmp_path: Path, task: TaskType) -> None:
    spec = make_spec(tmp_path, [STEP], task=task, unlabelled=["train"])
    report = run_to_end(spec, tmp_path / "out")
    assert spec.plan.task.judged_by == "labels"
    assert report.metric == spec.plan.task.usual_metrics[0]
    assert all(math.isfinite(point.value) for point in report.curves["loss"])


@pytest.mark.parametrize("task", LABELLED)
def test_without_any_labels_agreement_with_the_original_is_measured(tmp_path: Path, task: TaskType) -> None:
    settings = {"may_be_unanswered": True} if task == "question-answering" else None
    spec = make_spec(tmp_path, [STEP], task=task, unlabelled=["train", "validation"], settings=settings)
    report = run_to_end(spec, tmp_path / "out")
    assert list(report.before.metrics) == list(report.after.metrics) == list(spec.plan.task.metrics)
    assert (spec.plan.task.judged_by, len(report.before.metrics)) == ("original", 1)
    assert report.before.metrics[report.metric].value == pytest.approx(1)
    assert report.retention == pytest.approx(report.after.metrics[report.metric].value)
    assert any("no labels" in warning for warning in report.warnings)
    measured = verify(tmp_path / "out" / "artifacts").measured
    if task == "sentence-similarity":
        assert measured is None  # it takes the original's vectors, which are not delivered
    else:
        assert measured == pytest.approx(report.retention)


def test_several_labels_a_text_go_the_whole_way(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, [STEP], several=True)
    assert spec.plan.task.type == "text-classification"
    assert spec.plan.task.separator == "|"
    report = run_to_end(spec, tmp_path / "out")
    assert (report.metric, len(report.before.classes)) == ("f1_micro", 2)
    assert report.loyalty.label is not None
    assert verify(tmp_path / "out" / "artifacts").largest_difference < 1e-5
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / "model")
    assert model.config.problem_type == "multi_label_classification"


@pytest.mark.parametrize("task", [task for task in TASKS if task != "text-classification"])
def test_interrupted_equals_uninterrupted_for_every_task(tmp_path: Path, task: TaskType) -> None:
    spec = make_spec(tmp_path, [STEP], task=task)
    run_to_end(spec, tmp_path / "whole")
    with pytest.raises(Stopped):
        run(spec, tmp_path / "first", EventWriter(io.StringIO()), stop_after(12))
    run_to_end(resumed(spec, tmp_path / "first"), tmp_path / "second")
    assert weights_of(tmp_path / "second") == weights_of(tmp_path / "whole")
