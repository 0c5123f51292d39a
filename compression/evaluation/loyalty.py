"""Agreement of a compressed model with its original (Xu et al., Beyond Preserved Accuracy, EMNLP 2021, section 3)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax

from compression.evaluation.statistics import bootstrap
from compression.report.schema import Loyalty, Measured

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How alike the answers of two models are, row by row."""

    label: Array | None
    """Share of the answers of each row (N,) that are the same; nothing where answers are not the same or not."""
    probability: Array
    """Likeness of the distributions behind the answers (N,), from 0 to 1, the mean over each row."""
    weight: Array
    """Answers per row (N,)."""


def distribution_likeness(first: Array, second: Array) -> Array:
    """1 - sqrt(JSD) per row (N,) of distributions (N, C), base 2 so that it spans 0 to 1.

    scipy's function is the root already.
    """
    with np.errstate(invalid="ignore"):  # rounding can put a minus under the root of equal distributions
        distance: Array = jensenshannon(first, second, axis=1, base=2)
    return 1 - np.nan_to_num(distance)


def probability_agreement(before: Array, after: Array) -> Array:
    """Likeness per row (N,) of the answers behind logits (N, C), at temperature 1."""
    return distribution_likeness(softmax(before, axis=1), softmax(after, axis=1))


def score_agreement(before: Array, after: Array, labels: Array) -> Array:
    """Of scores (N,): 1 - |difference| over the range of the labels, per row (N,), not below 0."""
    spread = float(np.ptp(labels)) or 1.0
    agreement: Array = np.clip(1 - np.abs(before - after) / spread, 0, 1)
    return agreement


def loyalty(agreement: Agreement, seed: int) -> Loyalty:
    """Both loyalties, with bootstrap intervals over the rows."""
    weight = agreement.weight

    def mean(values: Array) -> Measured:
        return bootstrap(
            lambda i: float((values[i] * weight[i]).sum() / max(weight[i].sum(), 1)), len(weight), seed
        )

    label = None if agreement.label is None else mean(agreement.label)
    return Loyalty(label=label, probability=mean(agreement.probability))
