import math

import pytest

from compression.report.charts import bar_pairs, line_charts
from compression.report.schema import Point
from tests.compression.report.sample import sample_report


def coordinates(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in path.split())]


def test_loss_and_replacing_rate_come_first_and_share_one_axis_of_steps() -> None:
    charts = line_charts(sample_report())
    assert [c.title for c in charts] == [
        "Training loss",
        "Replacing rate",
        "Accuracy while training",
        "Learning rate",
    ]
    assert {tuple(t.text for t in c.x_ticks) for c in charts} == {("0", "500", "1,000")}
    for chart in charts:
        assert all(0 <= x <= 100 and 0 <= y <= 100 for x, y in coordinates(chart.path))


def test_the_replacing_rate_is_drawn_from_zero_to_one() -> None:
    rate = line_charts(sample_report())[1]
    assert [t.text for t in rate.y_ticks] == ["0", "0.5", "1"]
    first, last = coordinates(rate.path)[0], coordinates(rate.path)[-1]
    assert first == pytest.approx((0.1, 69.86), abs=0.01)
    assert last == (99.9, 0.0)


def test_values_that_are_not_finite_are_left_out() -> None:
    points = [Point(step=s, value=v) for s, v in ((1, 1.0), (2, math.inf), (3, math.nan), (4, 0.5))]
    (chart,) = line_charts(sample_report().model_copy(update={"curves": {"loss": points}}))
    assert len(coordinates(chart.path)) == 2
    assert line_charts(sample_report().model_copy(update={"curves": {"loss": points[1:]}})) == []


def test_a_constant_curve_is_drawn() -> None:
    for value in (0.0, -3.5, 1e-9):
        points = [Point(step=s, value=value) for s in (1, 2)]
        (chart,) = line_charts(sample_report().model_copy(update={"curves": {"loss": points}}))
        assert len(coordinates(chart.path)) == 2
        assert len(chart.y_ticks) >= 2


def test_the_longer_bar_of_a_pair_is_full() -> None:
    for pair in bar_pairs(sample_report()):
        assert pair.before.share == 100
        assert 0 < pair.after.share < 100
