"""Geometry of the report's charts. The template draws it, so that every text in it is escaped in one place."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from compression.report import words
from compression.report.schema import ModelResult, Point, Report

_ORDER = ("loss", "replacing_rate")
_NOT_DRAWN = "examples_per_second"
"""Steps that replace nothing take no time, and so its peaks say nothing."""
_UNIT_RANGE = ("replacing_rate",)
_SMOOTHED = "loss"
_SMOOTHING_MIN_POINTS = 40


@dataclass(frozen=True, slots=True)
class Tick:
    text: str
    at: float
    """Percent of the axis, from its low end."""


@dataclass(frozen=True, slots=True)
class LineChart:
    """A curve in a square of 100 by 100 that the page stretches; y grows downwards as in SVG."""

    title: str
    summary: str
    """What the curve does, for those who do not see it."""
    path: str
    smooth_path: str
    """A running mean of a noisy curve; empty where the curve itself is calm."""
    x_ticks: list[Tick]
    y_ticks: list[Tick]


@dataclass(frozen=True, slots=True)
class Bar:
    name: str
    text: str
    share: float
    """Percent of the longer bar of the pair."""


@dataclass(frozen=True, slots=True)
class BarPair:
    title: str
    change: str
    before: Bar
    after: Bar


def line_charts(report: Report) -> list[LineChart]:
    """One chart per training metric of two finite points or more: loss and replacing rate, then the others by name."""
    names = [n for n in _ORDER if n in report.curves] + sorted(set(report.curves) - {*_ORDER, _NOT_DRAWN})
    curves = {name: [p for p in report.curves[name] if math.isfinite(p.value)] for name in names}
    last_step = max((p.step for points in curves.values() for p in points), default=0)
    return [_line_chart(name, points, last_step) for name, points in curves.items() if len(points) > 1]


def bar_pairs(report: Report) -> list[BarPair]:
    """Size and latency of both models."""
    before, after = report.before, report.after
    pairs = [
        _bar_pair("Weight file", before.bytes, after.bytes, words.size(before.bytes), words.size(after.bytes)),
        _bar_pair(
            "Parameters", before.parameters, after.parameters,
            words.count(before.parameters), words.count(after.parameters),
        ),
    ]  # fmt: skip
    return pairs + _latency_bars(before, after)


def _latency_bars(before: ModelResult, after: ModelResult) -> list[BarPair]:
    return [
        _bar_pair(
            f"Latency at batch {old.batch_size}",
            old.median_ms,
            new.median_ms,
            words.milliseconds(old.median_ms),
            words.milliseconds(new.median_ms),
            words.speed_change(old.median_ms, new.median_ms),
        )
        for old, new in zip(before.latency, after.latency, strict=True)
    ]


def _bar_pair(
    title: str, before: float, after: float, before_text: str, after_text: str, change: str | None = None
) -> BarPair:
    longest = max(before, after) or 1.0
    return BarPair(
        title,
        change or words.relative_change(before, after),
        Bar("Original", before_text, 100 * before / longest),
        Bar("Compressed", after_text, 100 * after / longest),
    )


def _line_chart(name: str, points: Sequence[Point], last_step: int) -> LineChart:
    steps, values = [p.step for p in points], [p.value for p in points]
    y_ticks = [0.0, 0.5, 1.0] if name in _UNIT_RANGE else round_ticks(min(values), max(values))
    low, high = y_ticks[0], y_ticks[-1]

    def path(series: Sequence[float]) -> str:
        x = [100 * step / last_step for step in steps]
        y = [100 * (high - value) / (high - low) for value in series]
        return " ".join(f"{a:.2f},{b:.2f}" for a, b in zip(x, y, strict=True))

    smooth = name == _SMOOTHED and len(points) >= _SMOOTHING_MIN_POINTS
    return LineChart(
        title=words.curve_name(name),
        summary=f"from {words.brief(values[0])} at step {words.count(steps[0])} "
        f"to {words.brief(values[-1])} at step {words.count(steps[-1])}",
        path=path(values),
        smooth_path=path(_running_mean(values, width=len(values) // 12)) if smooth else "",
        x_ticks=[Tick(words.count(round(share * last_step)), 100 * share) for share in (0.0, 0.5, 1.0)],
        y_ticks=[Tick(words.brief(t), 100 * (t - low) / (high - low)) for t in y_ticks],
    )


def round_ticks(low: float, high: float) -> list[float]:
    """Three to five round values that enclose both ends."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 3))
    step = next(m * power for m in (1, 2, 5, 10) if m * power * 3 >= span)
    bottom, top = math.floor(low / step), math.ceil(high / step)
    return [step * k for k in range(bottom, max(top, bottom + 1) + 1)]


def _running_mean(values: Sequence[float], width: int) -> list[float]:
    """Mean of the last `width` values at each point, of as many as there are at the beginning."""
    sums = [0.0, *accumulate(values)]
    starts = [max(0, i + 1 - width) for i in range(len(values))]
    return [(sums[i + 1] - sums[start]) / (i + 1 - start) for i, start in enumerate(starts)]
