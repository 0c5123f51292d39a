"""Results by class."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import precision_recall_fscore_support

from compression.report.schema import ClassResult

Array = npt.NDArray[Any]


def class_results(labels: Array, predicted: Array, names: list[str]) -> list[ClassResult]:
    """Precision, recall and F1 of each class, of class ids (N,)."""
    results = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(names)), zero_division=0
    )
    return [
        ClassResult(
            label=name, rows=int(rows), precision=float(precision), recall=float(recall), f1=float(f1)
        )
        for name, precision, recall, f1, rows in zip(names, *results, strict=True)
    ]
