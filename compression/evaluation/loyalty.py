"""Agreement of a compressed model with its original (Xu et al., Beyond Preserved Accuracy, EMNLP 2021, section 3)."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax

from compression.evaluation.statistics import bootstrap
from compression.report.schema import Loyalty

Array = npt.NDArray[Any]


def label_agreement(before: Array, after: Array) -> Array:
    """Whether the two models name the same class, per row (N,), of logits (N, C)."""
    agreement: Array = before.argmax(axis=1) == after.argmax(axis=1)
    return agreement


def probability_agreement(before: Array, after: Array) -> Array:
    """1 - sqrt(JSD) per row (N,) of logits (N, C), at temperature 1, base 2 so that it spans 0 to 1.

    scipy's function is the root already.
    """
    distance: Array = jensenshannon(softmax(before, axis=1), softmax(after, axis=1), axis=1, base=2)
    return 1 - np.nan_to_num(distance)  # rounding can put a minus under the root of equal distributions


def score_agreement(before: Array, after: Array, labels: Array) -> Array:
    """For regression: 1 - |difference| over the range of the labels, per row (N,), not below 0."""
    spread = float(np.ptp(labels)) or 1.0
    agreement: Array = np.clip(1 - np.abs(before[:, 0] - after[:, 0]) / spread, 0, 1)
    return agreement


def closeness(before: Array, after: Array) -> float:
    """How alike logits (N, C) are: the mean probability agreement, for C = 1 minus the mean difference."""
    if before.shape[1] == 1:
        return -float(np.abs(before - after).mean())
    return float(probability_agreement(before, after).mean())


def loyalty(before: Array, after: Array, labels: Array, seed: int) -> Loyalty:
    """Both loyalties of logits (N, C), with bootstrap intervals; a regression has C = 1."""
    rows = len(labels)
    if before.shape[1] == 1:
        scores = score_agreement(before, after, labels)
        return Loyalty(label=None, probability=bootstrap(lambda i: float(scores[i].mean()), rows, seed))
    same, close = label_agreement(before, after), probability_agreement(before, after)
    return Loyalty(
        label=bootstrap(lambda i: float(same[i].mean()), rows, seed),
        probability=bootstrap(lambda i: float(close[i].mean()), rows, seed),
    )
