"""The figures of a report that are about both models at once."""

import numpy as np
import pytest

from compression.report.build import difference_of
from compression.tasks.behaviour import behaviour_of
from tests.compression.encoded import classification, of_rows

ROWS = 200


def test_a_difference_is_that_of_the_same_rows() -> None:
    """Of two samples of rows the difference would be within ten points by chance alone."""
    task = classification()
    rows = of_rows(task, np.arange(ROWS) % 2)
    answers = np.stack([rows.labels == 0, rows.labels == 1], axis=1).astype(np.float32)
    before, after = answers.copy(), answers.copy()
    before[:50] = before[:50, ::-1]
    after[:52] = after[:52, ::-1]
    behaviour = behaviour_of(task)
    same = difference_of(behaviour, "accuracy", (before, rows), (before, rows), seed=0)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    worse = difference_of(behaviour, "accuracy", (before, rows), (after, rows), seed=0)
    assert worse.value == pytest.approx(-2 / ROWS)
    assert -0.04 < worse.low < worse.value < worse.high <= 0
