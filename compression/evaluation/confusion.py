"""Metrics of classes from their counts: a few microseconds each, since intervals take hundreds of samples of rows."""

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]


def accuracy(counts: Counts) -> float:
    """Share of right answers of counts (C, C), a row for each true class and a column for each predicted one."""
    return float(np.trace(counts) / max(1, counts.sum()))


def f1_binary(counts: Counts) -> float:
    """F1 of the second of two classes; 0 where it is neither there nor predicted."""
    return float(_f1(counts)[1])


def f1_macro(counts: Counts) -> float:
    """Mean F1 of the classes that are there or predicted."""
    seen = (counts.sum(axis=0) + counts.sum(axis=1)) > 0
    return float(_f1(counts)[seen].mean())


def mcc(counts: Counts) -> float:
    """Matthews's correlation of C classes (Gorodkin 2004, equation 8); 0 where one class is all there is."""
    true, predicted = counts.sum(axis=1, dtype=float), counts.sum(axis=0, dtype=float)
    total = counts.sum(dtype=float)
    spread = (total**2 - true @ true) * (total**2 - predicted @ predicted)
    return float((np.trace(counts) * total - true @ predicted) / np.sqrt(spread)) if spread > 0 else 0.0


def _f1(counts: Counts) -> npt.NDArray[np.float64]:
    """F1 of each class (C,): twice its hits over the times that it is there plus those that it is predicted."""
    each: npt.NDArray[np.float64] = (
        2 * np.diag(counts) / np.maximum(1, counts.sum(axis=0) + counts.sum(axis=1))
    )
    return each
