"""The metrics from counts beside scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics

from compression.evaluation import confusion


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("rows", [1, 3, 200])
def test_they_are_those_of_scikit_learn(classes: int, rows: int) -> None:
    random = np.random.default_rng(rows)
    for _ in range(20):
        labels = random.integers(0, classes, rows)
        predicted = np.where(random.random(rows) < 0.6, labels, random.integers(0, classes, rows))
        counts = np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
        assert confusion.accuracy(counts) == pytest.approx(metrics.accuracy_score(labels, predicted))
        macro = metrics.f1_score(labels, predicted, average="macro", zero_division=0)
        assert confusion.f1_macro(counts) == pytest.approx(macro)
        if rows > 1:
            assert confusion.mcc(counts) == pytest.approx(metrics.matthews_corrcoef(labels, predicted))
        if classes == 2:
            binary = metrics.f1_score(labels, predicted, zero_division=0)
            assert confusion.f1_binary(counts) == pytest.approx(binary)
