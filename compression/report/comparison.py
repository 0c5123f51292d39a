"""The before/after table and the sentences beside it, shared by page and model card."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from compression.checkpoints.facts import TIED
from compression.report import words
from compression.report.schema import ConstraintResult, FileResult, Loyalty, ModelResult, Report
from compression.tasks.columns import LOWER_IS_BETTER

WORTH_TELLING = 0.01
"""Share of zeros among the parameters."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measure of both models, written out."""

    name: str
    before: str
    after: str
    change: str
    before_note: str = ""
    after_note: str = ""


@dataclass(frozen=True, slots=True)
class FileRow:
    """One delivered file, or the original in the first row, written out."""

    name: str
    runtime: str
    size: str
    score: str
    loyalty: str
    latency: list[tuple[str, str]]
    """By batch size, with how many times as fast as the original that is."""


def file_rows(report: Report) -> list[FileRow]:
    """The original and every delivered file; nothing where there is one file, of which all else tells."""
    if len(report.files) < 2:
        return []
    rows = [_file_row(report, "Original", "torch, float32", report.before, None)]
    return rows + [
        _file_row(report, f.name, f"{f.runtime}, {f.precision}", f, f.loyalty) for f in report.files
    ]


def _file_row(
    report: Report, name: str, runtime: str, measured: ModelResult | FileResult, loyalty: Loyalty | None
) -> FileRow:
    loyal = "" if loyalty is None else words.percent((loyalty.label or loyalty.probability).value)
    return FileRow(
        name,
        runtime,
        words.size(measured.bytes),
        words.score(report.metric, measured.metrics[report.metric].value),
        loyal,
        [
            (words.milliseconds(now.median_ms), words.times(old.median_ms / now.median_ms))
            for old, now in zip(report.before.latency, measured.latency, strict=True)
        ],
    )


def comparison(report: Report) -> list[Row]:
    """Every measure that both models have, the one that retention is about first."""
    return [*_quality(report), *_weight(report.before, report.after), *_speed(report.before, report.after)]


_BOUNDS: dict[str, tuple[str, Callable[[float], str]]] = {
    "min_retention": ("Retention at least", words.percent),
    "max_size_ratio": ("Size at most", words.percent),
    "min_speedup": ("Speed-up at least", words.times),
    "min_label_loyalty": ("Label loyalty at least", words.percent),
}


def constraint_in_words(constraint: ConstraintResult) -> tuple[str, str]:
    """What was asked and what came out, e.g. `Retention at least 97.0 %` and `98.9 %`."""
    asked, write = _BOUNDS[constraint.name]
    measured = "not defined" if constraint.measured is None else write(constraint.measured)
    return f"{asked} {write(constraint.bound)}", measured


def kept_in_words(report: Report) -> str:
    """How much of the metric is left, e.g. `It keeps 98.9 % of the original's accuracy`."""
    metric = words.metric_name(report.metric).lower()
    if report.metric not in LOWER_IS_BETTER:
        kept = "\u2013" if report.retention is None else words.percent(report.retention)
        return f"It keeps {kept} of the original's {metric}"
    before, after = (
        words.score(report.metric, m.metrics[report.metric].value) for m in (report.before, report.after)
    )
    return f"Its {metric} is {after}, the original's {before} (lower is better),"


def verdict_in_words(report: Report) -> str:
    if not report.constraints:
        return "No constraints were set"
    missed = sum(not c.met for c in report.constraints)
    if missed:
        return f"{missed} of {len(report.constraints)} constraints not met"
    return "All constraints met"


def paired_test_in_words(report: Report) -> str:
    """What the paired test says about the difference, for a reader who does not know the test."""
    test = report.paired_test
    chance = "would rarely come from chance alone" if test.p_value < 0.05 else "may well be chance"
    verdict = (
        f"The difference is {words.change_interval(report.metric, report.difference)} at 95{words.SPACE}%; one this "
        f"large {chance} ({test.name}: {words.probability(test.p_value)})."
    )
    if test.only_before_right is None or test.only_after_right is None:
        return verdict
    return (
        f"Of {words.count(report.rows)} rows, {words.count(test.only_before_right)} are right only with the "
        f"original and {words.count(test.only_after_right)} only with the compressed model. {verdict}"
    )


def loyalty_in_words(report: Report) -> str:
    """How much of the original's behaviour is left, right or wrong."""
    probability = words.share_interval(report.loyalty.probability)
    if report.task == "sentence-similarity":
        return f"Its embeddings have a mean cosine of {probability} with the original's."
    if report.loyalty.label is None:
        return f"Its scores keep {probability} of the label range in common with the original's."
    label = words.share_interval(report.loyalty.label)
    same = (
        f"It gives the same word piece as the original at {label} of the places"
        if report.task in TIED
        else f"It predicts the same label as the original on {label} of the rows"
    )
    return f"{same}, and its probabilities agree to {probability}, whether or not the original was right."


def _quality(report: Report) -> list[Row]:
    names = [report.metric, *sorted(set(report.before.metrics) - {report.metric})]
    rows = []
    for name in names:
        before, after = report.before.metrics[name], report.after.metrics[name]
        rows.append(
            Row(
                words.metric_name(name),
                words.score(name, before.value),
                words.score(name, after.value),
                words.score_change(name, before.value, after.value),
                words.interval(name, before),
                words.interval(name, after),
            )
        )
    return rows


def _weight(before: ModelResult, after: ModelResult) -> list[Row]:
    embeddings = [f"{words.in_words(model.embedding_parameters)} in embeddings" for model in (before, after)]
    zeros = after.nonzero_parameters < after.parameters * (1 - WORTH_TELLING)
    nonzero = _row("Non-zero parameters", before.nonzero_parameters, after.nonzero_parameters, words.count)
    return [
        _row("Layers", before.layers, after.layers, words.count),
        replace(
            _row("Parameters", before.parameters, after.parameters, words.count),
            before_note=embeddings[0],
            after_note=embeddings[1],
        ),
        *([nonzero] if zeros else []),
        _row("Weight file", before.bytes, after.bytes, words.size),
        _row("Multiply-adds per row", before.flops, after.flops, words.in_words),
        _row("Peak memory", before.peak_memory_bytes, after.peak_memory_bytes, words.size),
    ]


def _row(name: str, before: int, after: int, write: Callable[[int], str]) -> Row:
    return Row(name, write(before), write(after), words.relative_change(before, after))


def _speed(before: ModelResult, after: ModelResult) -> list[Row]:
    return [
        Row(
            f"Latency, batch {old.batch_size}",
            words.milliseconds(old.median_ms),
            words.milliseconds(new.median_ms),
            words.speed_change(old.median_ms, new.median_ms),
            f"p95 {words.milliseconds(old.p95_ms)}",
            f"p95 {words.milliseconds(new.p95_ms)}",
        )
        for old, new in zip(before.latency, after.latency, strict=True)
    ]
