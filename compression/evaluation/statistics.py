"""How sure a measured value is, and whether two models differ by more than chance."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from compression.report.schema import Measured, PairedTest

Array = npt.NDArray[Any]
RESAMPLES = 300


def bootstrap(statistic: Callable[[Array], float], rows: int, seed: int) -> Measured:
    """The statistic of all rows, with the 2.5 % and 97.5 % percentiles over resampled rows (Efron 1979).

    `statistic` takes row numbers (N,).
    """
    random = np.random.default_rng(seed)
    values = [statistic(random.integers(0, rows, rows)) for _ in range(RESAMPLES)]
    low, high = np.percentile(values, [2.5, 97.5])
    return Measured(value=statistic(np.arange(rows)), low=float(low), high=float(high))


def compare_classifiers(before_right: Array, after_right: Array) -> PairedTest:
    """McNemar's exact test on which rows (N,) each model gets right."""
    only_before = int((before_right & ~after_right).sum())
    only_after = int((after_right & ~before_right).sum())
    differing = only_before + only_after
    p_value = float(stats.binomtest(only_before, differing).pvalue) if differing else 1.0
    return PairedTest(
        name="McNemar, exact", p_value=p_value, only_before_right=only_before, only_after_right=only_after
    )


def compare_regressions(before_error: Array, after_error: Array) -> PairedTest:
    """Wilcoxon's signed-rank test on the errors (N,) of the two models, none of them negative."""
    differ = bool((before_error != after_error).any())
    p_value = float(stats.wilcoxon(before_error, after_error).pvalue) if differ else 1.0
    return PairedTest(name="Wilcoxon, signed ranks of errors", p_value=p_value)
