"""Puts a report together from what was measured."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.metrics import precision_recall_fscore_support

from compression.evaluation.loyalty import label_agreement
from compression.evaluation.statistics import bootstrap, compare_classifiers, compare_regressions
from compression.report.schema import (
    ClassResult,
    ConstraintResult,
    FlippedRow,
    Loyalty,
    Measured,
    ModelResult,
    PairedTest,
    Point,
)
from compression.spec import Constraints
from compression.tasks.resolution import FITTING_METRICS, Task
from compression.tasks.text_classification import predictions, score

Array = npt.NDArray[Any]
MOST_FLIPPED = 200
MOST_POINTS = 500


def measured_metrics(logits: Array, labels: Array, task: Task, seed: int) -> dict[str, Measured]:
    predicted = predictions(logits, task)
    return {
        name: bootstrap(lambda i, name=name: score(name, predicted[i], labels[i], task), len(labels), seed)  # type: ignore[misc]
        for name in FITTING_METRICS[task.problem_type]
    }


def class_results(logits: Array, labels: Array, task: Task) -> list[ClassResult]:
    if task.problem_type == "regression":
        return []
    ids = np.arange(len(task.label_names))
    results = precision_recall_fscore_support(labels, logits.argmax(axis=1), labels=ids, zero_division=0)
    return [
        ClassResult(
            label=name, rows=int(rows), precision=float(precision), recall=float(recall), f1=float(f1)
        )
        for name, precision, recall, f1, rows in zip(task.label_names, *results, strict=True)
    ]


def paired_test(before: Array, after: Array, labels: Array, task: Task) -> PairedTest:
    first, second = predictions(before, task), predictions(after, task)
    if task.problem_type == "regression":
        return compare_regressions(np.abs(first - labels), np.abs(second - labels))
    return compare_classifiers(first == labels, second == labels)


def flipped_rows(
    before: Array, after: Array, labels: Array, task: Task, texts: list[str], pairs: list[str] | None
) -> tuple[list[FlippedRow], int]:
    """Rows on which the two models name different classes: those the result is surest of first, and their number."""
    if task.problem_type == "regression":
        return [], 0
    first, second = softmax(before, axis=1), softmax(after, axis=1)
    flipped = np.flatnonzero(~label_agreement(before, after))
    order = flipped[np.argsort(-second[flipped].max(axis=1), kind="stable")][:MOST_FLIPPED]
    rows = [
        FlippedRow(
            row=int(row) + 1,
            text=texts[row],
            text_pair=pairs[row] if pairs else None,
            label=task.label_names[labels[row]],
            before=task.label_names[first[row].argmax()],
            after=task.label_names[second[row].argmax()],
            before_confidence=float(first[row].max()),
            after_confidence=float(second[row].max()),
        )
        for row in order
    ]
    return rows, len(flipped)


def check_constraints(
    constraints: Constraints,
    before: ModelResult,
    after: ModelResult,
    retention: float | None,
    loyalty: Loyalty,
) -> tuple[list[ConstraintResult], Literal["met", "not_met"]]:
    """Hold what was measured against what was asked for; a value that does not exist misses its bound."""
    speedup = before.latency[0].median_ms / after.latency[0].median_ms
    measured = {
        "min_retention": retention,
        "max_size_ratio": after.bytes / before.bytes,
        "min_speedup": speedup,
        "min_label_loyalty": loyalty.label.value if loyalty.label else None,
    }
    results = []
    for name, bound in constraints.model_dump(exclude_none=True).items():
        value = measured[name]
        met = value is not None and (value <= bound if name.startswith("max_") else value >= bound)
        results.append(ConstraintResult(name=name, bound=bound, measured=value, met=met))
    return results, "met" if all(result.met for result in results) else "not_met"


def thinned(curves: dict[str, list[tuple[int, float]]]) -> dict[str, list[Point]]:
    """At most MOST_POINTS points of each curve, its last one among them."""
    result = {}
    for name, points in curves.items():
        stride = -(-len(points) // MOST_POINTS)
        result[name] = [Point(step=step, value=value) for step, value in reversed(points[::-1][::stride])]
    return result
