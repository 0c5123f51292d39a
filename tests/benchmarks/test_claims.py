"""What is said of the claims, where the runs are known beforehand."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks.claims import Trial, look_at_modules, look_at_rates, look_at_schedules
from benchmarks.data import Task
from benchmarks.ledger import Found, Ledger
from benchmarks.results import Draft
from benchmarks.runs import Material
from tests.benchmarks.test_theseus import figures

NO_MATERIAL = cast(Material, None)


class Known(Ledger):
    def __init__(self, found: Callable[[dict[str, Any]], Found]) -> None:
        super().__init__(Path("no such file"))
        self.known = found

    def found(self, run: dict[str, Any], measure: Callable[[], Found]) -> Found:
        return self.known(run)


def trial(found: Callable[[dict[str, Any]], Found]) -> Trial:
    return Trial(Task.MRPC, NO_MATERIAL, 2, 100, 20, 1, Known(found))


def with_schedules(field: str, kept: dict[Any, float]) -> Trial:
    return trial(lambda run: asdict(figures(kept[run["step"]["schedule"][field]] + run["seed"] / 100)))


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (
            {"linear": 0.8, "constant": 0.7, "step": 0.6},
            "mrpc: curriculum > constant > anti-curriculum; rank correlation with the paper's +1.00. The curriculum "
            "keeps +0.1111 beside constant and +0.2222 beside anti-curriculum (largest standard deviation 0.0079): as "
            "in the paper, where it beats both.",
        ),
        (
            {"linear": 0.6, "constant": 0.7, "step": 0.8},
            "mrpc: anti-curriculum > constant > curriculum; rank correlation with the paper's -1.00. The curriculum "
            "keeps -0.1111 beside constant and -0.2222 beside anti-curriculum (largest standard deviation 0.0079): "
            "not as in the paper, where it beats both.",
        ),
    ],
)
def test_schedules_are_ranked_beside_the_papers(kept: dict[Any, float], said: str) -> None:
    draft = Draft()
    look_at_schedules(with_schedules("type", kept), draft)
    assert draft.notes == [said]
    assert [row["paper"] for row in draft.rows] == [89.0, 87.1, 85.6]
    assert draft.rows[0]["after"] == pytest.approx(kept["linear"] + 0.005)


def test_a_low_rate_collapses_or_does_not() -> None:
    for lowest, said in (
        (0.5, "keeps less than 0.5 and 0.7, as"),
        (0.85, "keeps not less than 0.5 and 0.7, not as"),
    ):
        draft = Draft()
        look_at_rates(with_schedules("rate", {0.1: lowest, 0.3: 0.7, 0.5: 0.8, 0.7: 0.8, 0.9: 0.8}), draft)
        assert said in draft.notes[0]


def test_modules_are_judged_alone_and_left_out() -> None:
    mixtures = {"none": 1.0, "all": 0.8, "only 1": 0.9, "only 2": 0.95, "only 3": 1.0}
    mixtures |= {"all but 1": 0.82, "all but 2": 0.85, "all but 3": 0.8}
    draft = Draft()
    look_at_modules(trial(lambda run: mixtures), draft)
    assert "replacing module 1 alone costs most, as in the paper" in draft.notes[0]
    assert "leaving out module 2 gains most" in draft.notes[0]
    assert [row["kept with it alone replaced"] for row in draft.rows] == [0.9, 0.95, 1.0]
