"""`report.html`: one page with everything in it, no script, no reference to anything outside."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from compression.report import words
from compression.report.charts import bar_pairs, line_charts
from compression.report.comparison import (
    comparison,
    constraint_in_words,
    file_rows,
    loyalty_in_words,
    paired_test_in_words,
    verdict_in_words,
)
from compression.report.schema import ClassResult, ConstraintResult, FlippedRow, Report

TEMPLATES = Path(__file__).parent / "templates"


def render_html(report: Report) -> str:
    """The report as one self-contained page."""
    pages = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    pages.filters["cut"] = words.cut
    return pages.get_template("report.html").render(
        report=report,
        css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        title=report.job_name or report.job_id,
        rows=words.count(report.rows),
        verdict=verdict_in_words(report),
        planks=_planks(report.before.layers, report.after.layers),
        figures=list(_figures(report)),
        comparison=comparison(report),
        files=file_rows(report),
        batches=[latency.batch_size for latency in report.before.latency],
        constraints=[_constraint(c) for c in report.constraints],
        paired_test=paired_test_in_words(report),
        loyalty=loyalty_in_words(report),
        classes=_classes(report),
        charts=line_charts(report),
        bars=bar_pairs(report),
        latency_note=_latency_note(report),
        differ=report.loyalty.label is not None,
        flips=[_flip(row) for row in report.flipped],
        flip_count=_flip_count(report),
        facts=list(_facts(report)),
    )


@dataclass(frozen=True, slots=True)
class _Figure:
    name: str
    value: str
    note: str


def _figures(report: Report) -> Iterator[_Figure]:
    """What a reader wants to know first: how much of the metric is left, how small, how fast, how faithful."""
    metric, before, after = report.metric, report.before, report.after
    scores = [words.score(metric, model.metrics[metric].value) for model in (before, after)]
    kept = words.percent(report.retention) if report.retention is not None else "\u2013"
    yield _Figure("Retention", kept, f"{words.metric_name(metric)} {scores[0]} to {scores[1]}")
    sizes = f"{words.size(before.bytes)} to {words.size(after.bytes)}"
    yield _Figure("Size", words.percent(report.size_ratio), sizes)
    latency = before.latency[0]
    speedup = words.times(report.speedup[latency.batch_size])
    yield _Figure("Speed", speedup, f"batch {latency.batch_size}, {_threads(latency.threads)}")
    if report.loyalty.label is not None:
        yield _Figure("Label loyalty", words.percent(report.loyalty.label.value), "rows with the same answer")
    else:
        yield _Figure("Loyalty", words.percent(report.loyalty.probability.value), "likeness of the scores")


@dataclass(frozen=True, slots=True)
class _Board:
    kind: str
    x: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class _Planks:
    height: int
    boards: list[_Board]


def _planks(before: int, after: int) -> _Planks:
    """Both models as stacks of planks, one for each layer, standing on the same ground."""
    ground, caption = 110.0, 22
    pitch = min(16.0, ground / max(before, after))
    boards = [
        _Board(kind, x, round(ground - pitch * (layer + 1), 2), round(pitch * 0.8, 2))
        for kind, x, layers in (("before", 0, before), ("after", 110, after))
        for layer in range(layers)
    ]
    return _Planks(int(ground) + caption, boards)


@dataclass(frozen=True, slots=True)
class _Constraint:
    asked: str
    measured: str
    met: bool


def _constraint(constraint: ConstraintResult) -> _Constraint:
    return _Constraint(*constraint_in_words(constraint), constraint.met)


@dataclass(frozen=True, slots=True)
class _ScorePair:
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class _Class:
    label: str
    rows: str
    scores: list[_ScorePair]


def _classes(report: Report) -> list[_Class]:
    return [
        _Class(
            old.label,
            words.count(old.rows),
            [_ScorePair(b, a) for b, a in zip(_class_scores(old), _class_scores(new), strict=True)],
        )
        for old, new in zip(report.before.classes, report.after.classes, strict=True)
    ]


def _class_scores(result: ClassResult) -> list[str]:
    return [words.percent(value) for value in (result.precision, result.recall, result.f1)]


@dataclass(frozen=True, slots=True)
class _Flip:
    row: str
    kind: str
    tag: str
    text: str
    text_pair: str
    label: str
    before: str
    after: str
    before_sure: str
    after_sure: str


def _flip(flipped: FlippedRow) -> _Flip:
    kind, tag = "", ""
    if flipped.after == flipped.label:
        kind, tag = "fixed", "now right"
    elif flipped.before == flipped.label:
        kind, tag = "broken", "now wrong"
    return _Flip(
        words.count(flipped.row),
        kind,
        tag,
        flipped.text,
        flipped.text_pair or "",
        flipped.label,
        flipped.before,
        flipped.after,
        f"{words.percent(flipped.before_confidence, 0)} sure",
        f"{words.percent(flipped.after_confidence, 0)} sure",
    )


def _flip_count(report: Report) -> str:
    share = words.percent(report.flipped_total / report.rows)
    shown = len(report.flipped)
    listed = (
        f" Listed are the {words.count(shown)} of which the compressed model is surest."
        if shown < report.flipped_total
        else ""
    )
    total = f"{words.count(report.flipped_total)} of {words.count(report.rows)} rows ({share}) differ."
    return f"{total}{listed}"


def _latency_note(report: Report) -> str:
    latency = report.before.latency[0]
    lengths = " and ".join(dict.fromkeys(str(x.sequence_length) for x in report.before.latency))
    return (
        f"Median forward pass on {report.machine.device}, {_threads(latency.threads)}, both models in turn; "
        f"rows of {lengths} word pieces."
    )


def _threads(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    machine = report.machine
    yield "Task", f"{report.task}, measured by {words.metric_name(report.metric).lower()}"
    yield "Evaluated on", f"{words.count(report.rows)} rows of the {report.split} split"
    yield "Seed", str(report.seed)
    yield "Machine", f"{machine.cpu}, {machine.cores} cores, {words.size(machine.memory_bytes)} memory"
    yield "Device", machine.device
    yield "Software", ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    yield "Time", ", ".join(f"{name} {words.duration(s)}" for name, s in report.seconds.items())
