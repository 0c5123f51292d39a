from benchmarks.ladder import climb
from benchmarks.results import Draft
from benchmarks.theseus import Arm
from tests.benchmarks.test_theseus import figures


def rung(name: str, by_seed: tuple[float, ...]) -> Arm:
    return Arm(name, 2e-5, lambda seed: figures(speed=by_seed[seed]))


def test_each_rung_is_held_against_the_lowest_and_the_one_below() -> None:
    speeds = {"paper": (10.0, 20.0, 10.0), "half": (30.0, 60.0, 90.0), "engine": (300.0, 600.0, 450.0)}
    draft = Draft()
    climb([rung(name, by_seed) for name, by_seed in speeds.items()], 3, draft)
    assert [row["recipe"] for row in draft.rows] == list(speeds)
    assert [row["times the first"] for row in draft.rows] == [1, 3, 30]
    assert [row["times the one above"] for row in draft.rows] == [1, 3, 10]
