"""How far numbers of one model may lie apart that were computed in two ways."""

import numpy as np

from compression.data.encoding import Array

SHARE = 1e-3


def tolerance(expected: Array) -> float:
    """The largest difference that the order of additions, or another processor's rounding, explains.

    It is a share of the largest number (scores have any scale), and no less than that share of 1.
    """
    return SHARE * max(1.0, float(np.abs(expected).max(initial=0)))
