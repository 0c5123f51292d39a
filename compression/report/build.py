"""Puts a report together from what was measured."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from compression.data.encoding import Encoded
from compression.evaluation.loyalty import Agreement
from compression.evaluation.statistics import bootstrap, compare_classifiers, compare_regressions
from compression.report.schema import (
    ConstraintResult,
    FlippedRow,
    Loyalty,
    Measured,
    ModelResult,
    PairedTest,
    Point,
)
from compression.spec import Constraints
from compression.tasks.behaviour import Behaviour
from compression.tasks.columns import LOWER_IS_BETTER, MetricName

Array = npt.NDArray[Any]
MOST_FLIPPED = 200
MOST_POINTS = 500


def measured_metrics(
    task: Behaviour[Any], logits: Array, data: Encoded, metrics: Sequence[MetricName], seed: int
) -> dict[str, Measured]:
    rows = data.table.num_rows
    return {name: bootstrap(task.statistic(name, logits, data), rows, seed) for name in metrics}


def difference_of(
    task: Behaviour[Any],
    metric: MetricName,
    before: tuple[Array, Encoded],
    after: tuple[Array, Encoded],
    seed: int,
) -> Measured:
    """Metric after less metric before, both of the same rows whenever these are drawn anew.

    Of each model its logits, and the rows as its tokenizer encodes them.
    """
    old, new = (task.statistic(metric, logits, data) for logits, data in (before, after))
    return bootstrap(lambda rows: new(rows) - old(rows), before[1].table.num_rows, seed)


def retention_of(metric: MetricName, before: ModelResult, after: ModelResult) -> float | None:
    """Metric after over metric before, or the other way round where lower is better: below 1 for a worse model.

    None where what it is divided by is not positive.
    """
    part, whole = after.metrics[metric].value, before.metrics[metric].value
    if metric in LOWER_IS_BETTER:
        part, whole = whole, part
    return part / whole if whole > 0 else None


def paired_test(task: Behaviour[Any], before: Array, after: Array, data: Encoded) -> PairedTest:
    first, second = task.verdicts(before, data), task.verdicts(after, data)
    return (compare_classifiers if first.dtype == bool else compare_regressions)(first, second)


def flipped_rows(
    task: Behaviour[Any], agreement: Agreement, before: Array, after: Array, data: Encoded
) -> tuple[list[FlippedRow], int]:
    """Rows on which the two models say different things: those the result is surest of first, and their number."""
    if agreement.label is None:
        return [], 0
    first, second = task.confidence(before, data), task.confidence(after, data)
    flipped = np.flatnonzero((agreement.label < 1) & (agreement.weight > 0))
    order = flipped[np.argsort(-second[flipped], kind="stable")][:MOST_FLIPPED]
    return [_flipped_row(task, row, before, after, data, first, second) for row in order.tolist()], len(
        flipped
    )


def _flipped_row(
    task: Behaviour[Any], row: int, before: Array, after: Array, data: Encoded, first: Array, second: Array
) -> FlippedRow:
    text, pair = task.texts(data, row)
    truth, old, new = task.contrast(before, after, data, row)
    return FlippedRow(
        row=row + 1,
        text=text,
        text_pair=pair,
        label=truth,
        before=old,
        after=new,
        before_confidence=float(first[row]),
        after_confidence=float(second[row]),
    )


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
