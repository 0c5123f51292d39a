"""Loyalty, by hand and at its ends."""

import numpy as np
import pytest

from compression.evaluation.loyalty import loyalty, probability_agreement
from compression.report.schema import Loyalty
from compression.tasks.text_classification.behaviour import TextClassification
from tests.compression.encoded import classification, of_rows


def logits(*probabilities: tuple[float, ...]) -> np.ndarray:
    result: np.ndarray = np.log(np.array(probabilities))
    return result


def loyalty_of(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> Loyalty:
    task = classification(regression=before.shape[1] == 1)
    return loyalty(TextClassification(task).agreement(before, after, of_rows(task, labels)), seed=0)


def test_the_published_example_in_base_two() -> None:
    agreement = probability_agreement(logits((0.75, 0.2, 0.05)), logits((0.8, 0.1, 0.1)))
    assert agreement[0] == pytest.approx(1 - 0.1377, abs=1e-4)


def test_equal_models_are_fully_loyal() -> None:
    same = np.random.default_rng(0).normal(size=(50, 4))
    result = loyalty_of(same, same, np.zeros(50))
    assert result.label is not None
    assert (result.label.value, result.label.low) == (1.0, 1.0)
    assert result.probability.value == pytest.approx(1.0)


def test_opposite_models_are_not_loyal_at_all() -> None:
    certain = np.array([[60.0, -60.0]] * 20)
    result = loyalty_of(certain, -certain, np.zeros(20))
    assert result.label is not None
    assert result.label.value == 0.0
    assert result.probability.value == pytest.approx(0.0, abs=1e-6)


def test_a_regression_counts_the_difference_over_the_range_of_the_labels() -> None:
    before, after = np.array([[1.0], [2.0]]), np.array([[2.0], [2.0]])
    result = loyalty_of(before, after, np.array([0.0, 5.0]))
    assert result.label is None
    assert result.probability.value == pytest.approx(0.9)
